// Verification: every step of a run once more without a pipeline, on rank 0, and how far the
// gradients of all ranks are from that.

#pragma once

#include <memory>
#include <optional>

#include "runtime/device.h"
#include "runtime/executor.h"
#include "runtime/plain_run.h"
#include "runtime/stage.h"
#include "runtime/watchdog.h"
#include "scheduler/pipeline.h"
#include "scheduler/program.h"

namespace dualpipe {

// Infinite where a gradient of either run is not a number or infinite.
struct GradientDifference {
  double absolute = 0.0;  // the largest of all elements
  // The largest of all stages' largest absolute difference over the largest expected magnitude.
  double relative = 0.0;
};

// Whether a pipelined step adds the gradients of a stage in the order in which a step without a
// pipeline does, so that equal bits are to be expected: where there are two directions, each has
// microbatches of one half of them alone, or one of them has all (executor.h).
[[nodiscard]] bool sums_in_plain_order(const Pipeline& pipeline);

class Verification {
 public:
  // On every rank, together; all must outlive this object. Rank 0 makes all stages on its device.
  // Throws what PlainRun's constructor throws.
  Verification(const Program& program, const BoundedWait& waits, const StageFactory& make_stage);

  // The run without a pipeline, for restoring it; null on other ranks than 0.
  [[nodiscard]] PlainRun* plain() { return plain_.get(); }

  // After each step. Does it once more on rank 0 and compares the gradients of all stages of all
  // ranks. Throws what gather() and PlainRun throw, and Error (transport) naming a rank that has
  // sent others than its stages'.
  void compare(int step, Executor& executor);

  // Of all steps so far. On rank 0, after one.
  [[nodiscard]] const GradientDifference& largest() const { return largest_; }

 private:
  const Program& program_;
  const BoundedWait& waits_;
  std::unique_ptr<PlainRun> plain_;
  GradientDifference largest_;
};

}  // namespace dualpipe
