// Which memory belongs to which device. A GPU cannot reach what is not in here, and whoever hands
// such a pointer to it is found out.

#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>

namespace stand_in {

struct Allocation {
  std::byte* begin = nullptr;
  std::size_t bytes = 0;
  // Of the device it is on; host_memory: pinned, within reach of all.
  static constexpr int host_memory = -1;
  int device = host_memory;

  [[nodiscard]] bool holds(const void* from, std::size_t length) const {
    const auto start = reinterpret_cast<std::uintptr_t>(from);
    const auto first = reinterpret_cast<std::uintptr_t>(begin);
    return start >= first && length <= bytes && start - first <= bytes - length;
  }
};

class Allocations {
 public:
  // Full of 0xFF, which is not a number in any floating-point format: fresh memory of a GPU is not
  // zeroed either. Returns nullptr when there is no memory.
  [[nodiscard]] std::byte* add(std::size_t bytes, int device);
  // The allocation that the address lies in.
  [[nodiscard]] std::optional<Allocation> find(const void* address) const;
  // The allocation that begins at the address, which the caller is to free().
  [[nodiscard]] std::optional<Allocation> remove(const void* begin);

 private:
  mutable std::mutex mutex_;
  std::map<std::uintptr_t, Allocation> by_address_;
};

}  // namespace stand_in
