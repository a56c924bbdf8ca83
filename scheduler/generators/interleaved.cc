// Interleaved 1F1B: every rank holds several chunks of the model, chunk k of rank r being stage
// k*P + r, and runs a round of P microbatches through one chunk before it turns to the next. The
// pipeline fills in steps of one chunk, so the bubble shrinks by the number of chunks; memory and
// messages grow.
//
// Megatron-LM wants rounds of P. PyTorch takes rounds of any one size that is not below P, or one
// round where there are fewer microbatches. Where no size divides them all, rounds that differ by
// one are ours.

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
                  in_rounds(OpKind::backward, rank, shape, rounds),
                  {.warmup = 2 * (shape.ranks - 1 - rank) + (shape.chunks - 1) * rounds.front()}));
  }
  return ranks;
}

// With whole rounds of P, the transfers lie on the critical path once around all ranks for every
// chunk, there and back, less the two ends; as long as compute covers each of them.
ClosedForm closed_form(const Shape& shape, const StageCosts& stage, Time p2p) {
  const int P = shape.ranks;
  const int M = shape.microbatches;
  const int v = shape.chunks;
  const int round = even_rounds(shape).front();
  ClosedForm known{.peak_activations = std::min((v - 1) * round + 2 * P - 1, M * v)};
  const Time computing =
      (v * std::max(M, P) + std::min(M, P) - 1) * (stage.forward + stage.backward());
  if (p2p == Time{} || P == 1) {
    known.step_time = computing;
  } else if (M % P == 0 && p2p <= std::min(stage.forward, stage.backward())) {
    known.step_time = computing + 2 * (v * P - 1) * p2p;
  }
  known.longest_rank_time = known.step_time;  // rank 0 begins first and ends last
  return known;
}

}  // namespace

constinit const Family interleaved_family{
    .name = "interleaved",
    .summary = "1F1B over several chunks per rank",
    .source = "Megatron-LM, Narayanan et al., SC 2021",
    .requirement = "any ranks, any microbatches, any chunks",
    .step_time_formula = "(v max(M,P) + min(M,P) - 1)(F+B) + 2(vP-1)c when P divides M",
    .supports = [](const Shape&) { return true; },
    .placement = [](const Shape& shape) { return looped_placement(shape.ranks, shape.chunks); },
    .order = order,
    .closed_form = closed_form,
};

}  // namespace dualpipe
