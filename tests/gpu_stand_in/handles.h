// The objects that a C interface has handed out: a handle that was never given out, or was taken
// back, is not followed but found missing.

#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <utility>

namespace stand_in {

template <typename Object>
class Handles {
 public:
  void* add(std::shared_ptr<Object> object) {
    void* handle = object.get();
    const std::scoped_lock lock(mutex_);
    objects_[handle] = std::move(object);
    return handle;
  }

  // nullptr when there is none.
  [[nodiscard]] std::shared_ptr<Object> find(const void* handle) const {
    const std::scoped_lock lock(mutex_);
    const auto found = objects_.find(handle);
    return found == objects_.end() ? nullptr : found->second;
  }

  [[nodiscard]] std::shared_ptr<Object> remove(const void* handle) {
    const std::scoped_lock lock(mutex_);
    const auto found = objects_.find(handle);
    if (found == objects_.end()) {
      return nullptr;
    }
    std::shared_ptr<Object> object = std::move(found->second);
    objects_.erase(found);
    return object;
  }

 private:
  mutable std::mutex mutex_;
  std::map<const void*, std::shared_ptr<Object>> objects_;
};

}  // namespace stand_in
