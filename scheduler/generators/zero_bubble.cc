// ZB-H1 and ZB-H2: 1F1B with its backwards split, so that only the input halves are on the way back
// through the pipeline and the weight halves fill what used to be the bubble of the drain. Rank r
// holds back r weight halves; it may, because it keeps r microbatches less than rank 0.
//
//   rank 0  F0 F1 F2       I0 W0 F3 I1 W1    I2 W2    I3 W3
//   rank 1     F0 F1    I0 F2 I1 W0 F3 I2 W1    I3 W2 W3
//   rank 2        F0 I0 F1 I1 F2 I2 W0 F3 I3 W1 W2 W3
//
// ZB-H2 has rank r start with 2(P-1-r) forwards where ZB-H1 has P-1-r, and hold back 2r weight
// halves: nothing is left of the bubble where F = I = W, if the last rank may end as much later
// than the first as it began, at the price of nearly twice the memory.

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

// `lead`: 1 for ZB-H1, 2 for ZB-H2.
RankOrders split_one_f_one_b(const Shape& shape, int lead) {
  const Shape linear{.ranks = shape.ranks, .microbatches = shape.microbatches, .chunks = 1};
  const std::vector<int> rounds{shape.microbatches};
  RankOrders ranks;
  for (int rank = 0; rank < shape.ranks; ++rank) {
    ranks.push_back(
        alternate(in_rounds(OpKind::forward, rank, linear, rounds),
                  in_rounds(OpKind::backward_input, rank, linear, rounds),
                  {.warmup = lead * (shape.ranks - 1 - rank), .held_weights = lead * rank}));
  }
  return ranks;
}

// The longest rank time is the zero-bubble paper's measure: it leaves out a rank's wait for its
// first forward. The transfers are hidden as long as a weight half covers one there and one back.
ClosedForm closed_form_h1(const Shape& shape, const StageCosts& stage, Time p2p) {
  const int P = shape.ranks;
  const int M = shape.microbatches;
  const Time F = stage.forward;
  const Time I = stage.backward_input;
  const Time W = stage.backward_weight;
  const Time work = M * (F + I + W);
  ClosedForm known{.peak_activations = std::min(P, M)};
  if (p2p == Time{} || P == 1) {
    // What the weight halves fill, each as much as the shortest of what could take its place.
    const int filled = known.peak_activations.value() - 1;
    known.step_time = work + (P - 1) * (F + I) - filled * std::min({F, I, W});
    known.longest_rank_time = work + (P - 1) * (F + I) - filled * std::min(F, W);
  } else if (M > P && 2 * p2p <= W) {
    const Time rank_bubble = std::max(F + I + 4 * p2p - W, I + 2 * p2p);
    known.step_time = work + (P - 1) * std::max(rank_bubble, F + 3 * p2p);
    known.longest_rank_time = work + (P - 1) * rank_bubble;
  }
  return known;
}

ClosedForm closed_form_h2(const Shape& shape, const StageCosts& stage, Time p2p) {
  const int P = shape.ranks;
  const int M = shape.microbatches;
  const Time F = stage.forward;
  const Time I = stage.backward_input;
  const Time W = stage.backward_weight;
  const Time work = M * (F + I + W);
  ClosedForm known{.peak_activations = std::min(2 * P - 1, M)};
  if (M >= 2 * P && 2 * p2p <= F) {
    const Time rank_bubble = std::max(I + 2 * p2p - F, F + I + 2 * p2p - 2 * W);
    known.step_time = work + (P - 1) * std::max(rank_bubble, F + p2p);
    known.longest_rank_time = work + (P - 1) * std::max(rank_bubble, Time{});
  }
  return known;
}

}  // namespace

constinit const Family zb_h1_family{
    .name = "zb-h1",
    .summary = "1F1B with split backwards, in the memory of 1F1B",
    .source = "Zero Bubble Pipeline Parallelism, Qi et al., ICLR 2024",
    .requirement = "any ranks, any microbatches",
    .step_time_formula = "MT + (P-1)(F+I) - (min(P,M)-1) min(F,I,W), T = F+I+W",
    .supports = [](const Shape&) { return true; },
    .placement = [](const Shape& shape) { return linear_placement(shape.ranks); },
    .order = [](const Shape& shape) { return split_one_f_one_b(shape, 1); },
    .closed_form = closed_form_h1,
};

constinit const Family zb_h2_family{
    .name = "zb-h2",
    .summary = "1F1B with split backwards, in twice the memory of 1F1B",
    .source = "Zero Bubble Pipeline Parallelism, Qi et al., ICLR 2024",
    .requirement = "any ranks, any microbatches",
    .step_time_formula = "MT + (P-1) max(F, I-F, F+I-2W), T = F+I+W, when M >= 2P",
    .supports = [](const Shape&) { return true; },
    .placement = [](const Shape& shape) { return linear_placement(shape.ranks); },
    .order = [](const Shape& shape) { return split_one_f_one_b(shape, 2); },
    .closed_form = closed_form_h2,
};

}  // namespace dualpipe
