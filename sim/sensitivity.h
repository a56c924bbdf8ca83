// What a step would gain from faster parts: how much shorter it is with one per cent off the time
// of one thing, everything else as it was.

#pragma once

#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "costs/cost_model.h"
#include "scheduler/pipeline.h"
#include "scheduler/program.h"
#include "sim/durations.h"

namespace dualpipe {

struct Sensitivity {
  enum class Of : std::uint8_t {
    forward,
    backward_input,
    backward_weight,
    overlapped,  // pairs; the ops of a pair are not changed with those that run alone
    transfer,
    tail,   // what follows the last slots: reductions, gradient norm, optimizer, gathering
    stage,  // all that it computes, on every rank that has it
    rank,   // all of its slots
  };
  Of of = Of::forward;
  int index = -1;           // of the stage or rank
  Time saved{};             // of the step time
  double elasticity = 0.0;  // the step time's relative change over that of the part: 1 where it is
                            // all on the critical path, 0 where it hides behind others

  bool operator==(const Sensitivity&) const = default;
};

[[nodiscard]] std::string_view to_string(Sensitivity::Of of);

// The step time with these costs, in which the slots of one rank take one per cent less; of none
// where it is negative.
using StepTime = std::function<Time(const CostModel& costs, int faster_rank)>;

// Takes one per cent off the slots of a rank. Requires: durations of this program.
void shorten_rank(const Program& program, int rank, StepDurations& durations);

// The six kinds in the order above, then every stage, then every rank. Exact: the step is timed
// again for each. A per cent is rounded to a nanosecond, so that costs below 100 ns say little.
// Requires: costs.stages has one entry per stage.
[[nodiscard]] std::vector<Sensitivity> sensitivities(const Pipeline& pipeline,
                                                     const CostModel& costs,
                                                     const StepTime& step_time);

}  // namespace dualpipe
