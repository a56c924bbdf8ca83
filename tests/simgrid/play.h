// The engines' outside reference: a program played by SimGrid, a simulator of distributed systems
// that shares no code with this tree (Casanova et al., "Versatile, scalable, and accurate
// simulation of distributed applications and platforms", JPDC 2014).

#pragma once

#include <vector>

#include "costs/cost_model.h"
#include "scheduler/program.h"
#include "sim/network.h"

namespace dualpipe {

// When a slot ran, in nanoseconds and their fractions.
struct PlayedSlot {
  double begin = 0.0;
  double end = 0.0;
};

// [rank][slot of the program]. An actor for every rank executes its instructions on a host of its
// own, with a mailbox for every channel; what waits and what shares is SimGrid's doing. Bandwidth
// alone is shared, as its model CM02 has it without cross traffic and TCP windows.
//
// A process has one SimGrid engine in its life, so each call has a process of its own. Throws
// std::runtime_error where that fails. Requires: mode eager or rendezvous, and not blocking, with a
// program compiled for it; costs.stages has one entry per stage.
[[nodiscard]] std::vector<std::vector<PlayedSlot>> play(const Program& program,
                                                        const CostModel& costs,
                                                        const NetworkModel& network);

}  // namespace dualpipe
