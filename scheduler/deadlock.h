// The last part of compile(): can the program hang? And if so, who waits for whom?
//
// Not installed: compile() is the way in.

#pragma once

#include <optional>
#include <string>
#include <vector>

#include "scheduler/compile.h"
#include "scheduler/program.h"

namespace dualpipe {

struct Deadlock {
  std::vector<std::string> cycle;  // one sentence for each wait, the last one closing the circle
  std::string story;               // the same in one sentence
  std::vector<RankSlot> stuck;     // the slots that its ranks wait before, in its order; not empty
  // Messages per lane with which the program would complete; none if no number is enough.
  std::optional<int> smallest_buffering;
};

// No result proves that the program completes under every timing (see play.h for why), with the
// buffering of its semantics. Otherwise the deadlock with the shortest cycle.
// Linear in the number of instructions.
// Requires: both ends of every channel take its messages in the same order.
[[nodiscard]] std::optional<Deadlock> find_deadlock(const Program& program);

}  // namespace dualpipe
