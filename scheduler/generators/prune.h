// Shapes between those for which a family's published order is defined: the order for more
// microbatches than were asked for, without the surplus. What is left is complete and ordered,
// because no op reads what another microbatch wrote; and it cannot deadlock where the whole did
// not, because what a rank does in the same order, without some of it, waits for less.

#pragma once

#include "scheduler/schedule.h"

namespace dualpipe {

// `ranks` orders `from` microbatches over one or two directions, split between them as
// directions_of_microbatches() does; the result orders the first `to` of them, split and numbered
// likewise. A pair that loses one half becomes its other half alone.
// Requires: 0 < to <= from, directions is 1 or 2.
struct MicrobatchCounts {
  int from = 0;
  int to = 0;
};
[[nodiscard]] RankOrders prune(const RankOrders& ranks, const MicrobatchCounts& microbatches,
                               int directions);

}  // namespace dualpipe
