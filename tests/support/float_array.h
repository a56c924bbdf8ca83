// Memory of the host as a device's is: zeroed floats that begin on a cache line.

#pragma once

#include <cstddef>
#include <span>

#include "runtime/device.h"
#include "tests/support/host_math.h"

namespace dualpipe {

class FloatArray {
 public:
  FloatArray() = default;
  explicit FloatArray(std::size_t size) : memory_(host_math().device(), size * sizeof(float)) {}

  [[nodiscard]] std::span<float> values() const { return memory_.floats(); }

 private:
  DeviceMemory memory_;
};

}  // namespace dualpipe
