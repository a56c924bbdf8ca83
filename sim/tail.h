// The end of a step, after the last weight gradient: gradients are reduced, ranks agree on the
// gradient norm, optimizers run, updated parameters are gathered.

#pragma once

#include "costs/cost_model.h"
#include "trace/timeline.h"

namespace dualpipe {

// Whether steps with these costs have a tail.
[[nodiscard]] bool has_tail(const CostModel& costs);

// Appends the tail to a timeline whose slots are complete; nothing where the costs have none, or
// for inference. On each rank:
// - Reductions run one after another beside the slots, in the order in which the gradients of the
//   rank's stages are complete. A replica_reduce is one exchange of the two ranks that have the
//   stage, and begins when both have its gradients and are free for it.
// - When all ranks have reduced, gradient_norm later every rank knows the norm, and its optimizer
//   runs over its stages; with post_validation as soon as the rank itself has reduced and has run
//   its last slot.
// - A stage's parameters are gathered behind its optimizer, beside that of the next stage.
// Requires: costs of the timeline's stages.
void append_tail(Timeline& timeline, const CostModel& costs);

}  // namespace dualpipe
