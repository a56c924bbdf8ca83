// Chimera: two pipelines through the same ranks in opposite directions, each a 1F1B of half the
// microbatches, so that each fills the other's bubble at both ends. Parameters twice.
//
// `chimera` is the paper's direct concatenation of blocks of P microbatches: idle P-2 ops in all
// where F = B; where they differ, gaps open between the blocks. `chimera-doubling` closes them for
// backwards that take twice as long: two microbatches are forwarded in the time of one backward.
// That keeps twice the activations alive, or none if backwards recompute. Halving backwards is the
// same order: read its pairs of microbatches as the halves of one, forwarded whole, of which each
// backward takes one half. The slots of the doubled form are ours: two backwards of one pair follow
// each other at a distance of two slots, so that the other direction's pass between them.
//
// Any number of microbatches: the paper has multiples of a block; else the last block is short.

#include <algorithm>

#include "costs/cost_model.h"
#include "scheduler/generate.h"
#include "scheduler/generators/families.h"
#include "scheduler/generators/unit_slots.h"
#include "scheduler/pipeline.h"
#include "scheduler/schedule.h"

namespace dualpipe {
namespace {

Block direct_block(const Shape& shape) {
  return {.entries = shape.ranks / 2, .together = 1};
}

Block doubling_block(const Shape& shape) {
  return {.entries = shape.ranks / 2, .together = 2};
}

template <Block (*BlockOf)(const Shape&)>
RankOrders order(const Shape& shape) {
  return unit_slots(bidirectional_placement(shape.ranks), shape.microbatches, BlockOf(shape));
}

ClosedForm direct_closed_form(const Shape& shape, const StageCosts& stage, Time p2p) {
  const int P = shape.ranks;
  const int M = shape.microbatches;
  ClosedForm known{.peak_activations = std::min(P, M)};
  if (p2p == Time{} && M % P == 0) {
    known.step_time =
        M * (stage.forward + stage.backward()) + idle_of_blocks(direct_block(shape), M / P, stage);
    known.longest_rank_time = known.step_time;
  }
  return known;
}

// Blocks join where F <= B <= 2F. Shorter backwards make them wait for the forwards, longer ones
// (as with recomputation, B = 3F) the other way round.
ClosedForm doubling_closed_form(const Shape& shape, const StageCosts& stage, Time p2p) {
  const int P = shape.ranks;
  const int M = shape.microbatches;
  ClosedForm known{.peak_activations = std::min(2 * P, M)};
  if (p2p == Time{} && M % (2 * P) == 0) {
    const Time F = stage.forward;
    const Time B = stage.backward();
    const int joints = M / (2 * P) - 1;
    known.step_time = M * (F + B) + (P / 2 - 1) * std::max({F + B, 2 * F, 2 * (B - F)}) +
                      (P - 2) * joints * std::max({Time{}, B - 2 * F, F - B});
    known.longest_rank_time = known.step_time;
  }
  return known;
}

bool ranks_even(const Shape& shape) {
  return shape.ranks % 2 == 0;
}

}  // namespace

// With an odd number of ranks the two pipelines would meet on the middle one in the same slots.
constinit const Family chimera_family{
    .name = "chimera",
    .summary = "two 1F1B pipelines in opposite directions",
    .source = "Li & Hoefler, SC 2021, arXiv 2107.06925",
    .requirement = "ranks even",
    .step_time_formula = "M(F+B) + (P-2)(max(F, B) + (M/P-1)|B-F|) when P divides M",
    .supports = ranks_even,
    .placement = [](const Shape& shape) { return bidirectional_placement(shape.ranks); },
    .order = order<direct_block>,
    .closed_form = direct_closed_form,
};

constinit const Family chimera_doubling_family{
    .name = "chimera-doubling",
    .summary = "Chimera, forwards in twos; as well: backwards in halves",
    .source = "Li & Hoefler, SC 2021, arXiv 2107.06925",
    .requirement = "ranks even",
    .step_time_formula =
        "M(F+B) + (P-2)(max(F+B, 2F, 2B-2F)/2 + (M/2P-1)max(0, B-2F, F-B)) when 2P divides M",
    .supports = ranks_even,
    .placement = [](const Shape& shape) { return bidirectional_placement(shape.ranks); },
    .order = order<doubling_block>,
    .closed_form = doubling_closed_form,
};

}  // namespace dualpipe
