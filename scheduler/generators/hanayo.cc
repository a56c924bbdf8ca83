// Hanayo: waves. The chunks of a rank are laid in zig-zag, so that a microbatch runs down the ranks
// and back up again once per wave of two chunks, every turn staying on its rank. It is Chimera
// folded in the middle: what was the other direction is the way back up, with one copy of the
// parameters, and more waves make the stages, and so the bubble, smaller.
//
// Blocks of P microbatches: idle 2(P-1) ops of a chunk where F = B, which is (P-1)(F+B)/v for the F
// and B of a rank with v chunks. The paper has whole waves (v even) and multiples of a block; an
// odd number of chunks ends in half a wave and one chunk is 1F1B.

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
  return {.entries = shape.ranks, .together = 1};
}

Placement placement(const Shape& shape) {
  return zigzag_placement(shape.ranks, shape.chunks);
}

RankOrders order(const Shape& shape) {
  return unit_slots(placement(shape), shape.microbatches, block(shape));
}

ClosedForm closed_form(const Shape& shape, const StageCosts& stage, Time p2p) {
  const int P = shape.ranks;
  const int M = shape.microbatches;
  const int v = shape.chunks;
  ClosedForm known{.peak_activations = v * std::min(P, M)};
  const Time each = stage.forward + stage.backward();
  if (p2p != Time{} && P > 1) {
    return known;
  }
  if (v == 1) {
    known.step_time = (M + P - 1) * each;
  } else if (M % P == 0) {
    known.step_time = M * v * each + idle_of_blocks(block(shape), M / P, stage);
  }
  known.longest_rank_time = known.step_time;
  return known;
}

}  // namespace

constinit const Family hanayo_family{
    .name = "hanayo",
    .summary = "waves: chunks in zig-zag, two to a wave",
    .source = "Liu et al., SC 2023, arXiv 2308.15762",
    .requirement = "any ranks, any microbatches",
    .step_time_formula = "Mv(F+B) + 2(P-1)(max(F, B) + (M/P-1)|B-F|) when P divides M, v > 1",
    .supports = [](const Shape&) { return true; },
    .placement = placement,
    .order = order,
    .closed_form = closed_form,
};

}  // namespace dualpipe
