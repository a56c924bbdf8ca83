// ZB-V's heuristic (Qi et al., 2024): fill the V with forwards as far as the memory goes, then go
// round the ranks, one input half and one forward on each in turn, with weight halves in the gaps.

#pragma once

#include <vector>

#include "scheduler/arrange/tracks.h"

namespace dualpipe {

// One schedule for each way to level the ranks' idle times; those that come to a stand-still, which
// they do with little memory, are left out.
// Requires: tracks of a V with one direction.
[[nodiscard]] std::vector<Words> zb_v_rounds(const Tracks& tracks);

}  // namespace dualpipe
