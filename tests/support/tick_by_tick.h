// The event engine's reference: looks at everything again every nanosecond. Slow, with no queue of
// events, and rates from fair_rates().

#pragma once

#include "costs/cost_model.h"
#include "scheduler/program.h"
#include "sim/durations.h"
#include "sim/network.h"
#include "trace/timeline.h"

namespace dualpipe {

// Requires: as simulate_events(); times that are small numbers.
[[nodiscard]] Timeline tick_by_tick(const Program& program, const CostModel& costs,
                                    const NetworkModel& network);

// As above, with slots and transfers that take these durations.
// Requires: transfers without latency.
[[nodiscard]] Timeline tick_by_tick(const Program& program, const CostModel& costs,
                                    const NetworkModel& network, const StepDurations& durations);

}  // namespace dualpipe
