// A schedule as text, rank by rank, with marks at the slots to look at.

#pragma once

#include <string>
#include <vector>

#include "scheduler/compile.h"
#include "scheduler/schedule.h"

namespace dualpipe {

// One line per rank: "  rank 1  1F0 >1F1< 1B0 1B1". Of a long rank only the slots near a mark are
// shown, of many ranks only those with marks; ".." stands for what is left out. A mark at slot -1
// is the rank's end. Requires: `marks` are of the schedule, and not empty.
[[nodiscard]] std::string slot_grid(const Schedule& schedule, const std::vector<RankSlot>& marks);

}  // namespace dualpipe
