// calibrate(): the costs that a measured timeline shows, so that other schedules of the same stages
// can be predicted from one run.

#pragma once

#include <string>

#include "costs/cost_model.h"
#include "trace/timeline.h"

namespace dualpipe {

// Per stage, the mean duration of its forwards and of its backward halves, over both replicas where
// there are two. Where a stage shows no halves of its own, its whole backward is split in the
// proportion of the halves that other stages show, or evenly if none does. Overlapped pairs give
// each stage its share of what overlapping saved (see overlapped_time); without pairs `overlapped`
// stays the sum. p2p is what fit_links() finds for the mean message over all links, in which only
// transfers whose receiver was waiting count; unset where there are none. Where messages of several
// sizes travelled, p2p_latency is set too. Of the tail, the mean of each stage's parts; of the
// gradient norm what the last rank waits for it. The result is in nanoseconds per stage, with what
// the timeline knows of bytes; all else is left unset. Throws Error (infeasible) naming the stage
// when one shows no forward or no backward.
[[nodiscard]] CostConfig calibrate(const Timeline& timeline);

}  // namespace dualpipe
