// BitPipe: Chimera whose two pipelines are waves. Each direction runs down the ranks and back up
// over two chunks per rank, the turn staying on its rank, so stages are half as long and the bubble
// is half of Chimera's. Parameters twice.
//
// Blocks of P microbatches, half of them each way: idle P-2 ops of a chunk where F = B. Any number
// of microbatches: the paper has multiples of a block; else the last block is short.

#include <algorithm>

#include "costs/cost_model.h"
#include "scheduler/generate.h"
#include "scheduler/generators/families.h"
#include "scheduler/generators/unit_slots.h"
#include "scheduler/pipeline.h"
#include "scheduler/schedule.h"

namespace dualpipe {
namespace {

Block block(const Shape& shape) {
  return {.entries = shape.ranks / 2, .together = 1};
}

Placement placement(const Shape& shape) {
  return both_ways(v_placement(shape.ranks));
}

RankOrders order(const Shape& shape) {
  return unit_slots(placement(shape), shape.microbatches, block(shape));
}

ClosedForm closed_form(const Shape& shape, const StageCosts& stage, Time p2p) {
  const int P = shape.ranks;
  const int M = shape.microbatches;
  ClosedForm known{.peak_activations = 2 * std::min(P, M)};
  if (p2p == Time{} && M % P == 0) {
    known.step_time =
        2 * M * (stage.forward + stage.backward()) + idle_of_blocks(block(shape), M / P, stage);
    known.longest_rank_time = known.step_time;
  }
  return known;
}

}  // namespace

// With an odd number of ranks the two pipelines would meet on the middle one in the same slots.
constinit const Family bitpipe_family{
    .name = "bitpipe",
    .summary = "two V-shaped pipelines in opposite directions",
    .source = "Wu et al., arXiv 2410.19367",
    .requirement = "ranks even",
    .step_time_formula = "2M(F+B) + (P-2)(max(F, B) + (M/P-1)|B-F|) when P divides M",
    .supports = [](const Shape& shape) { return shape.ranks % 2 == 0; },
    .placement = placement,
    .order = order,
    .closed_form = closed_form,
};

}  // namespace dualpipe
