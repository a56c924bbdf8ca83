// simulate(): when everything happens, if ops and transfers take exactly what the cost model says.

#pragma once

#include "costs/cost_model.h"
#include "scheduler/program.h"
#include "sim/durations.h"
#include "trace/timeline.h"

namespace dualpipe {

struct SimulationOptions {
  bool transfers = true;  // record a Transfer per message; metrics do without
};

// The exact longest path through the program, in one pass. Transfers are eager: a sender never
// waits, links are not shared, and a message arrives p2p after the slot that wrote it ended. Exact
// and deterministic; linear in the number of instructions.
// Requires: costs.stages has one entry per stage.
[[nodiscard]] Timeline simulate(const Program& program, const CostModel& costs,
                                const SimulationOptions& options = {});

// As above, with slots and transfers that take these durations. The cost model says the rest.
// Requires: `durations` are of this program.
[[nodiscard]] Timeline simulate(const Program& program, const CostModel& costs,
                                const StepDurations& durations,
                                const SimulationOptions& options = {});

}  // namespace dualpipe
