// The host's arithmetic for tests that need any.

#pragma once

#include "runtime/cpu_device.h"
#include "runtime/models/cpu_math.h"
#include "runtime/models/math.h"

namespace dualpipe {

// Stateless, and so one for all threads: only marks of the device are somebody's own.
[[nodiscard]] inline Math& host_math() {
  static CpuDevice device;
  static CpuMath math(device);
  return math;
}

}  // namespace dualpipe
