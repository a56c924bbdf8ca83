// A stream: work that is done in the order in which it was asked for, by a thread of its own.

#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <random>

namespace stand_in {

class Device;

// A point in the order of a stream. Any thread may ask and wait.
class Completion {
 public:
  void complete();
  [[nodiscard]] bool is_done() const { return done_.load(); }
  void wait() const { done_.wait(false); }
  // Requires: is_done().
  [[nodiscard]] std::chrono::steady_clock::time_point time() const { return time_; }

 private:
  std::chrono::steady_clock::time_point time_;
  std::atomic<bool> done_{false};
};

using Work = std::function<void()>;

class Stream : public std::enable_shared_from_this<Stream> {
 public:
  // The thread is not joined, for it may be in work that never ends, as a GPU may; it shares in the
  // ownership of all it uses, and leaves once the stream is retired and its work done.
  [[nodiscard]] static std::shared_ptr<Stream> start(Device& device, std::uint64_t number);

  // Blocks while the queue is full. Work of a device that has failed is passed over.
  std::shared_ptr<const Completion> push(Work work);
  // Of what was pushed last; done at the start.
  [[nodiscard]] std::shared_ptr<const Completion> last() const;
  // No work follows.
  void retire();

  [[nodiscard]] Device& device() const { return device_; }

 private:
  struct Item {
    Work work;
    std::shared_ptr<Completion> completion;
  };

  Stream(Device& device, std::uint64_t number);
  void work_off();
  [[nodiscard]] Item next();  // an Item without completion: retired
  void pause();

  Device& device_;
  std::mt19937_64 random_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Item> items_;
  std::shared_ptr<const Completion> last_;
  bool retired_ = false;
};

}  // namespace stand_in
