// A first call of all that a stage computes, before the first step, on memory of its own: to be
// made where a device has a queue, at the end of Stage::allocate(). A library sets up what it
// computes by at the first use of each size, and on a GPU may wait until the queue is empty for
// that: in a step it would wait for a message, perhaps one that its peer cannot send while it waits
// likewise, and the host would be inside the library, where no deadline reaches it. Before the
// first step nothing is on its way.

#pragma once

#include "runtime/device.h"
#include "runtime/stage.h"

namespace dualpipe {

class TrialCall {
 public:
  // Memory for calls of microbatch 0 in slot 0. The stage's results do not depend on what the calls
  // leave behind: a step overwrites all that it reads.
  TrialCall(const Stage& stage, Device& device);

  // Whether the device has a queue; where it has none, asking is doing, and nothing needs a trial.
  [[nodiscard]] static bool is_wanted(const Device& device) { return !device.memory_is_hosts(); }

  [[nodiscard]] Stage::ForwardCall forward() const {
    return {.op = op_, .input = input_.bytes(), .output = output_.bytes()};
  }
  [[nodiscard]] Stage::BackwardCall backward() const {
    return {.op = op_,
            .output_gradient = output_gradient_.bytes(),
            .input_gradient = input_gradient_.bytes(),
            .gradient = gradient_.floats()};
  }
  // Waits until the device has done them. Throws Error (timeout) when that takes minutes.
  void finish() const;

 private:
  Device& device_;
  StageOp op_;
  DeviceMemory input_;
  DeviceMemory output_;
  DeviceMemory output_gradient_;
  DeviceMemory input_gradient_;
  DeviceMemory gradient_;
};

}  // namespace dualpipe
