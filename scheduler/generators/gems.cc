// GEMS: two replicas of the model in opposite directions, one microbatch alive in each. For models
// of which one microbatch just fits: each rank keeps a single activation, and is idle most of the
// time. While the backward of one microbatch comes up the ranks, the forward of the next, of the
// other replica, follows right behind it, and finds its own loss where the backward ends.
//
//   slot     0  1  2  3  4  5  6  7  8  9 10 11 12    numbered by turn; 1 enters at rank 3
//   rank 0  F0                   B0 F1 B1 F2
//   rank 1     F0             B0 F1       B1 F2
//   rank 2        F0       B0 F1             B1 F2
//   rank 3           F0 B0 F1                   B1

#include <algorithm>
#include <vector>

#include "costs/cost_model.h"
#include "scheduler/generate.h"
#include "scheduler/generators/families.h"
#include "scheduler/op.h"
#include "scheduler/pipeline.h"
#include "scheduler/schedule.h"

namespace dualpipe {
namespace {

// The microbatches in the order in which all ranks take them: of the two directions in turn,
// beginning with the one that has more.
std::vector<int> turns(int microbatches) {
  const int first_upward = microbatches / 2;
  std::vector<int> turns;
  for (int turn = 0; turn < microbatches; ++turn) {
    const bool upward = (turn + microbatches) % 2 == 1;
    turns.push_back(turn / 2 + (upward ? first_upward : 0));
  }
  return turns;
}

RankOrders order(const Shape& shape) {
  const std::vector<int> taken = turns(shape.microbatches);
  RankOrders ranks;
  for (int rank = 0; rank < shape.ranks; ++rank) {
    std::vector<Slot>& slots = ranks.emplace_back();
    slots.reserve(2 * taken.size());
    for (const int microbatch : taken) {
      const int stage = microbatch < shape.microbatches / 2 ? rank : shape.ranks - 1 - rank;
      slots.emplace_back(Op{stage, OpKind::forward, microbatch});
      slots.emplace_back(Op{stage, OpKind::backward, microbatch});
    }
  }
  return ranks;
}

// From the last forward of one microbatch to that of the next, its backward and the next forward
// come up all ranks, one behind the other, at the pace of the slower.
ClosedForm closed_form(const Shape& shape, const StageCosts& stage, Time p2p) {
  const int P = shape.ranks;
  const int M = shape.microbatches;
  const Time faster = std::min(stage.forward, stage.backward());
  const Time slower = std::max(stage.forward, stage.backward());
  const Time hops = (P - 1) * p2p;
  const Time step_time = P * (faster + slower) + 2 * hops + (M - 1) * (P * slower + faster + hops);
  // With M even, the rank that ends last is the one at which the first microbatch arrived last.
  const Time longest = M % 2 == 1 ? step_time : step_time - (P - 1) * (faster + p2p);
  return {.step_time = step_time, .longest_rank_time = longest, .peak_activations = 1};
}

}  // namespace

constinit const Family gems_family{
    .name = "gems",
    .summary = "two replicas in opposite directions, one microbatch alive in each",
    .source = "Jain et al., SC 2020",
    .requirement = "any ranks, any microbatches",
    .step_time_formula = "P(F+B) + 2(P-1)c + (M-1)(P max(F, B) + min(F, B) + (P-1)c)",
    .supports = [](const Shape&) { return true; },
    .placement = [](const Shape& shape) { return bidirectional_placement(shape.ranks); },
    .order = order,
    .closed_form = closed_form,
};

}  // namespace dualpipe
