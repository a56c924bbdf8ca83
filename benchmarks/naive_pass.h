// What one would write in an hour to get a schedule's step time: no proof, no messages, no
// timeline. The yardstick that the benchmarks measure compile() and simulate() against.

#pragma once

#include "costs/cost_model.h"
#include "scheduler/schedule.h"

namespace dualpipe {

// The makespan by sweeping over the ranks until all ops have run, each as soon as what it reads is
// there. Requires: a valid schedule.
[[nodiscard]] Time naive_sweep(const Schedule& schedule, const CostModel& costs);

// The makespan as the longest path of an explicit graph: a node per slot, an edge per dependence,
// visited in topological order. Requires: a valid schedule.
[[nodiscard]] Time naive_topological_pass(const Schedule& schedule, const CostModel& costs);

}  // namespace dualpipe
