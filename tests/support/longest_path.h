// The simulator's reference: slow, obvious, and made from the definition of a schedule alone.

#pragma once

#include <vector>

#include "costs/cost_model.h"
#include "scheduler/schedule.h"
#include "trace/timeline.h"

namespace dualpipe {

// [rank]: when every slot begins and ends. An explicit graph - a slot comes after the one before it
// on its rank, and after every slot that writes what it reads, a transfer later where that is on
// another rank - relaxed until nothing changes. Requires: the schedule is valid.
[[nodiscard]] std::vector<std::vector<Span>> longest_path(const Schedule& schedule,
                                                          const CostModel& costs);

}  // namespace dualpipe
