// StepMemory: how much of its memory a rank has had in use, beside how much was planned. What is in
// use is counted as the stages are called: a microbatch occupies a slot of its stage from the begin
// of its forward to the end of its backward, or of the weight half.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "runtime/held_stage.h"
#include "runtime/rank_plan.h"

namespace dualpipe {

// Of activations, as the stages say of themselves, and of all message buffers of a rank. Without
// parameters, gradients and what stages have for themselves. Trivially copyable, to travel.
struct StepBytes {
  std::int64_t planned = 0;   // the slots and buffers that were reserved before the first step
  std::int64_t measured = 0;  // the most of them that were in use at once, of each stage

  bool operator==(const StepBytes&) const = default;
};

class StepMemory {
 public:
  // `stages` as plan.stages; must outlive this object. `message_bytes` are all in use, always.
  StepMemory(const RankPlan& plan, std::span<const HeldStage> stages, std::size_t message_bytes);

  // A microbatch begins, or ends, at the stage with this index into plan.stages. Allocates nothing.
  void occupy(int held);
  void release(int held);

  [[nodiscard]] StepBytes bytes() const;

 private:
  struct Slots {
    int planned = 0;
    int occupied = 0;
    int most = 0;
  };

  std::span<const HeldStage> stages_;
  std::int64_t message_bytes_;
  std::vector<Slots> slots_;  // as plan.stages
};

}  // namespace dualpipe
