// GPipe: all forwards, then all backwards. The simplest schedule and the most memory: every
// microbatch's activations are alive at once.
//
//   rank 0  F0 F1 F2 F3             B0 B1 B2 B3
//   rank 1     F0 F1 F2 F3       B0 B1 B2 B3
//   rank 2        F0 F1 F2 F3 B0 B1 B2 B3

#include <cstddef>
#include <vector>

#include "costs/cost_model.h"
#include "scheduler/generate.h"
#include "scheduler/generators/families.h"
#include "scheduler/op.h"
#include "scheduler/pipeline.h"
#include "scheduler/schedule.h"

namespace dualpipe {
namespace {

RankOrders order(const Shape& shape) {
  RankOrders ranks;
  for (int rank = 0; rank < shape.ranks; ++rank) {
    std::vector<Slot>& slots = ranks.emplace_back();
    slots.reserve(2 * static_cast<std::size_t>(shape.microbatches));
    for (const OpKind kind : {OpKind::forward, OpKind::backward}) {
      for (int microbatch = 0; microbatch < shape.microbatches; ++microbatch) {
        slots.emplace_back(Op{rank, kind, microbatch});
      }
    }
  }
  return ranks;
}

ClosedForm closed_form(const Shape& shape, const StageCosts& stage, Time p2p) {
  const int P = shape.ranks;
  const int M = shape.microbatches;
  return {.step_time = (M + P - 1) * (stage.forward + stage.backward()) + 2 * (P - 1) * p2p,
          .peak_activations = M};
}

}  // namespace

constinit const Family gpipe_family{
    .name = "gpipe",
    .summary = "all forwards, then all backwards",
    .source = "GPipe, Huang et al., NeurIPS 2019",
    .requirement = "any ranks, any microbatches",
    .step_time_formula = "(M+P-1)(F+B) + 2(P-1)c",
    .supports = [](const Shape&) { return true; },
    .placement = [](const Shape& shape) { return linear_placement(shape.ranks); },
    .order = order,
    .closed_form = closed_form,
};

}  // namespace dualpipe
