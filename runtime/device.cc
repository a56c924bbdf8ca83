#include "runtime/device.h"

#include <cstddef>
#include <span>
#include <utility>

#include "costs/check.h"

namespace dualpipe {

DeviceMemory::DeviceMemory(Device& device, std::size_t bytes, MemoryHome home)
    : device_(&device), memory_(device.allocate(bytes, home)), size_(bytes), home_(home) {}

DeviceMemory::~DeviceMemory() {
  if (device_ != nullptr) {
    device_->release(memory_, home_);
  }
}

DeviceMemory::DeviceMemory(DeviceMemory&& other) noexcept
    : device_(std::exchange(other.device_, nullptr)),
      memory_(std::exchange(other.memory_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      home_(other.home_) {}

DeviceMemory& DeviceMemory::operator=(DeviceMemory&& other) noexcept {
  std::swap(device_, other.device_);
  std::swap(memory_, other.memory_);
  std::swap(size_, other.size_);
  std::swap(home_, other.home_);
  return *this;
}

std::span<float> DeviceMemory::floats() const {
  CHECK(size_ % sizeof(float) == 0);
  return {reinterpret_cast<float*>(memory_), size_ / sizeof(float)};
}

}  // namespace dualpipe
