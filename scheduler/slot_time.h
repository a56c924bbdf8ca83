// How long a slot takes by the cost model, if nothing disturbs it.

#pragma once

#include "costs/cost_model.h"
#include "scheduler/schedule.h"

namespace dualpipe {

// Requires: costs.stages has an entry for the stage of every op of the slot.
[[nodiscard]] Time slot_time(const Slot& slot, const CostModel& costs);

// Every stage's times replaced by their mean over the stages, rounded down to a nanosecond; the
// rest as it is. Requires: at least one stage.
[[nodiscard]] CostModel with_mean_stages(CostModel costs);

}  // namespace dualpipe
