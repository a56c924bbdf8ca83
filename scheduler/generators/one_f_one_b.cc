// 1F1B (PipeDream-flush): each rank runs ahead just far enough to fill the pipeline below it, then
// alternates one forward with one backward, so that a rank keeps at most as many activations as
// there are ranks from it to the last.
//
//   rank 0  F0 F1 F2          B0 F3 B1    B2    B3
//   rank 1     F0 F1       B0 F2 B1 F3 B2    B3
//   rank 2        F0 B0 F1 B1 F2 B2 F3 B3

#include <algorithm>
#include <cstddef>
#include <optional>
#include <vector>

#include "costs/cost_model.h"
#include "scheduler/generate.h"
#include "scheduler/generators/families.h"
#include "scheduler/op.h"
#include "scheduler/pipeline.h"
#include "scheduler/schedule.h"

namespace dualpipe {
namespace {

std::vector<Slot> order_of_rank(int rank, const Shape& shape) {
  const int warmup = std::min(shape.ranks - 1 - rank, shape.microbatches);
  std::vector<Slot> slots;
  slots.reserve(2 * static_cast<std::size_t>(shape.microbatches));
  for (int forward = 0; forward < warmup; ++forward) {
    slots.emplace_back(Op{rank, OpKind::forward, forward});
  }
  for (int backward = 0; backward < shape.microbatches; ++backward) {
    const int forward = backward + warmup;
    if (forward < shape.microbatches) {
      slots.emplace_back(Op{rank, OpKind::forward, forward});
    }
    slots.emplace_back(Op{rank, OpKind::backward, backward});
  }
  return slots;
}

RankOrders order(const Shape& shape) {
  RankOrders ranks;
  for (int rank = 0; rank < shape.ranks; ++rank) {
    ranks.push_back(order_of_rank(rank, shape));
  }
  return ranks;
}

// The transfers lie on the critical path at the fill, at the drain, and once per P microbatches in
// between, each time there and back over all boundaries.
ClosedForm closed_form(const Shape& shape, const StageCosts& stage, Time p2p) {
  const int P = shape.ranks;
  const int M = shape.microbatches;
  ClosedForm known{.peak_activations = std::min(P, M)};
  const Time computing = (M + P - 1) * (stage.forward + stage.backward());
  if (p2p == Time{} || P == 1) {
    known.step_time = computing;
  } else if (M % P == 0 && p2p <= std::min(stage.forward, stage.backward())) {
    known.step_time = computing + 2 * p2p * ((P - 1) * (M / P + 1) - 1);
  }
  return known;
}

}  // namespace

constinit const Family one_f_one_b_family{
    .name = "1f1b",
    .summary = "one forward, one backward",
    .source = "PipeDream-flush, Narayanan et al., ICML 2021",
    .requirement = "any ranks, any microbatches",
    .step_time_formula = "(M+P-1)(F+B) + 2c((P-1)(M/P+1)-1) when P divides M",
    .supports = [](const Shape&) { return true; },
    .placement = [](const Shape& shape) { return linear_placement(shape.ranks); },
    .order = order,
    .closed_form = closed_form,
};

}  // namespace dualpipe
