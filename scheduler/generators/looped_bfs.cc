// Looped breadth-first: every rank holds several chunks, chunk k of rank r being stage k*P + r, and
// runs all microbatches through one chunk before it turns to the next; the backwards undo all that
// in reverse. GPipe with more than one chunk: the bubble shrinks by their number, all activations
// are alive at once, and the parameters of one chunk are used for all microbatches in a row.
//
//   rank 0  0F0 0F1 0F2 2F0 2F1 2F2             2B2 2B1 2B0 0B2 0B1 0B0
//   rank 1      1F0 1F1 1F2 3F0 3F1 3F2 3B2 3B1 3B0 1B2 1B1 1B0

#include <algorithm>
#include <vector>

#include "costs/cost_model.h"
#include "scheduler/generate.h"
#include "scheduler/generators/families.h"
#include "scheduler/generators/rounds.h"
#include "scheduler/op.h"
#include "scheduler/pipeline.h"
#include "scheduler/schedule.h"

namespace dualpipe {
namespace {

RankOrders order(const Shape& shape) {
  const std::vector<int> one_round{shape.microbatches};
  RankOrders ranks;
  for (int rank = 0; rank < shape.ranks; ++rank) {
    const std::vector<Op> forwards = in_rounds(OpKind::forward, rank, shape, one_round);
    std::vector<Slot>& slots = ranks.emplace_back(forwards.begin(), forwards.end());
    slots.reserve(2 * forwards.size());
    for (auto forward = forwards.rbegin(); forward != forwards.rend(); ++forward) {
      slots.emplace_back(Op{forward->stage, OpKind::backward, forward->microbatch});
    }
  }
  return ranks;
}

// All forwards, or all backwards: the last rank's first op, and from there one chunk after another,
// each of which lasts as long as its microbatches or as the way of one of them around all ranks.
Time sweep(const Shape& shape, Time each, Time p2p) {
  const int P = shape.ranks;
  const Time hop = P == 1 ? each : each + p2p;
  const Time chunk = shape.microbatches * each;
  return (P - 1) * hop + (shape.chunks - 1) * std::max(chunk, P * hop) + chunk;
}

ClosedForm closed_form(const Shape& shape, const StageCosts& stage, Time p2p) {
  const Time both = sweep(shape, stage.forward, p2p) + sweep(shape, stage.backward(), p2p);
  return {.step_time = both,
          .longest_rank_time = both,
          .peak_activations = shape.chunks * shape.microbatches};
}

}  // namespace

constinit const Family looped_bfs_family{
    .name = "looped-bfs",
    .summary = "GPipe over several chunks per rank",
    .source = "Breadth-First Pipeline Parallelism, Lamy-Poirier, MLSys 2023",
    .requirement = "any ranks, any microbatches, any chunks",
    .step_time_formula = "(v max(M,P) + min(M,P) - 1)(F+B)",
    .supports = [](const Shape&) { return true; },
    .placement = [](const Shape& shape) { return looped_placement(shape.ranks, shape.chunks); },
    .order = order,
    .closed_form = closed_form,
};

}  // namespace dualpipe
