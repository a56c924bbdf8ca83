#include "tests/gpu_stand_in/cudart/allocations.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <mutex>
#include <optional>

namespace stand_in {

std::byte* Allocations::add(std::size_t bytes, int device) {
  constexpr std::size_t alignment = 256;  // what cudaMalloc promises
  void* memory = std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
  if (memory == nullptr) {
    return nullptr;
  }
  std::memset(memory, 0xFF, bytes);
  auto* begin = static_cast<std::byte*>(memory);
  const std::scoped_lock lock(mutex_);
  by_address_[reinterpret_cast<std::uintptr_t>(begin)] = {
      .begin = begin, .bytes = bytes, .device = device};
  return begin;
}

std::optional<Allocation> Allocations::find(const void* address) const {
  const std::scoped_lock lock(mutex_);
  const auto after = by_address_.upper_bound(reinterpret_cast<std::uintptr_t>(address));
  if (after == by_address_.begin() || !std::prev(after)->second.holds(address, 1)) {
    return std::nullopt;
  }
  return std::prev(after)->second;
}

std::optional<Allocation> Allocations::remove(const void* begin) {
  const std::scoped_lock lock(mutex_);
  const auto found = by_address_.find(reinterpret_cast<std::uintptr_t>(begin));
  if (found == by_address_.end()) {
    return std::nullopt;
  }
  const Allocation allocation = found->second;
  by_address_.erase(found);
  return allocation;
}

}  // namespace stand_in
