// Schedules on the clock, with costs made up by the tests.

#pragma once

#include <cstddef>
#include <string_view>
#include <utility>
#include <vector>

#include "costs/cost_model.h"
#include "scheduler/compile.h"
#include "scheduler/generate.h"
#include "scheduler/schedule.h"
#include "sim/simulate.h"
#include "tests/support/schedules.h"
#include "trace/timeline.h"

namespace dualpipe {

// Durations of the four kinds of op, in nanoseconds.
struct Durations {
  int forward = 1;
  int input = 1;
  int weight = 1;
  int overlapped = 3;
};

inline StageCosts stage_costs(const Durations& durations) {
  return {.forward = Time(durations.forward),
          .backward_input = Time(durations.input),
          .backward_weight = Time(durations.weight),
          .overlapped = Time(durations.overlapped)};
}

inline CostModel equal_costs(int stages, const StageCosts& stage, Time p2p = {}) {
  return {.stages = std::vector<StageCosts>(static_cast<std::size_t>(stages), stage),
          .p2p = p2p,
          .p2p_latency = p2p,
          .p2p_in_node = p2p,
          .p2p_in_node_latency = p2p};
}

inline Timeline simulated(Schedule schedule, const StageCosts& stage, Time p2p = {}) {
  const int stages = schedule.pipeline.stages();
  return simulate(compile_or_throw(std::move(schedule), eager), equal_costs(stages, stage, p2p));
}

inline Timeline simulated(std::string_view family, const Shape& shape, const StageCosts& stage,
                          Time p2p = {}) {
  return simulated(generate(find_family(family), shape), stage, p2p);
}

}  // namespace dualpipe
