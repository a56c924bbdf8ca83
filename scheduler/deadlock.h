// The last part of compile(): can the program hang? And if so, who waits for whom?

#pragma once

#include <optional>
#include <string>
#include <vector>

#include "scheduler/program.h"

namespace dualpipe {

struct Deadlock {
  int rank = 0;                    // one that is on the cycle
  int slot = 0;                    // that it cannot reach
  std::vector<std::string> cycle;  // one sentence for each wait, the last one closing the circle
};

// Plays the program under rendezvous with zero buffering, without time: a transfer takes place once
// both its operations are at the front of their communicators. Whatever can happen stays possible
// until it happens, so the end of the play does not depend on the order: no result proves that the
// program completes under every timing. Otherwise the deadlock with the shortest cycle.
// Linear in the number of instructions.
[[nodiscard]] std::optional<Deadlock> find_deadlock(const Program& program);

}  // namespace dualpipe
