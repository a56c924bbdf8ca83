// Interleaved 1F1B with split backwards, as ZB-H1 is to 1F1B: rank r holds back r weight halves and
// starts with P-1-r forwards beyond those that the interleaving takes, half as many as interleaved
// 1F1B, because only the input halves are on the way back through the pipeline. Less bubble and
// less memory at once.
//
// PyTorch, where this order comes from, wants rounds of one size; rounds that differ by one are
// ours.

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
  const std::vector<int> rounds = even_rounds(shape);
  RankOrders ranks;
  for (int rank = 0; rank < shape.ranks; ++rank) {
    ranks.push_back(
        alternate(in_rounds(OpKind::forward, rank, shape, rounds),
                  in_rounds(OpKind::backward_input, rank, shape, rounds),
                  {.warmup = shape.ranks - 1 - rank + (shape.chunks - 1) * rounds.front(),
                   .held_weights = rank}));
  }
  return ranks;
}

ClosedForm closed_form(const Shape& shape, const StageCosts& stage, Time p2p) {
  const int P = shape.ranks;
  const int M = shape.microbatches;
  const int v = shape.chunks;
  const Time F = stage.forward;
  const Time I = stage.backward_input;
  const Time W = stage.backward_weight;
  ClosedForm known{.peak_activations = std::min((v - 1) * even_rounds(shape).front() + P, M * v)};
  if (M >= P && (p2p == Time{} || P == 1)) {
    const Time work = M * v * (F + I + W);
    known.step_time = work + (P - 1) * (F + I - std::min({F, I, W}));
    known.longest_rank_time = work + (P - 1) * (F + I - std::min(F, W));
  }
  return known;
}

}  // namespace

constinit const Family interleaved_zb_family{
    .name = "interleaved-zb",
    .summary = "ZB-H1 over several chunks per rank",
    .source = "PyTorch's ScheduleInterleavedZeroBubble, after Qi et al., ICLR 2024",
    .requirement = "any ranks, any microbatches, any chunks",
    .step_time_formula = "MvT + (P-1)(F+I - min(F,I,W)), T = F+I+W, when M >= P",
    .supports = [](const Shape&) { return true; },
    .placement = [](const Shape& shape) { return looped_placement(shape.ranks, shape.chunks); },
    .order = order,
    .closed_form = closed_form,
};

}  // namespace dualpipe
