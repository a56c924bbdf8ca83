// simulate_events(): when everything happens, where what happens on the way between ranks matters -
// transfers that wait for both ends, links that several messages share, transfers that keep ranks
// from computing. Slower than simulate(), and equal to it where nothing of that is so.

#pragma once

#include "costs/cost_model.h"
#include "scheduler/program.h"
#include "sim/durations.h"
#include "sim/network.h"
#include "trace/timeline.h"

namespace dualpipe {

// Every rank executes its instructions. A message takes its link's latency, then its bytes pass
// (Link::busy where it is alone; with other durations the two parts keep their ratio). Only bytes
// share a link. A transfer's begin is when it begins, which may be after it was posted.
//
// Eager: the instructions that wait for a send buffer are done at once. Rendezvous and grouped:
// operations go through the communicators that the program's semantics name, one group after
// another on each (scheduler/play.h has the rules), so that a channel's messages do not overlap.
//
// Deterministic, and independent of the order in which simultaneous events are taken: slots begin
// only after everything else at that time has happened. A slot's end or a message's arrival costs
// the logarithm of the number of those under way; with NIC sharing, also the messages that share.
// Requires: costs.stages has one entry per stage. Mode grouped: a program compiled as grouped;
// others: not so. Other modes than eager: semantics().buffering = 0.
[[nodiscard]] Timeline simulate_events(const Program& program, const CostModel& costs,
                                       const NetworkModel& network = {});

// As above, with slots and transfers that take these durations.
// Requires: `durations` are of this program.
[[nodiscard]] Timeline simulate_events(const Program& program, const CostModel& costs,
                                       const NetworkModel& network, const StepDurations& durations);

}  // namespace dualpipe
