// GIS and GIS-H, the generalised interleaved schedules of PipeOffload: interleaved 1F1B with split
// backwards in groups of g microbatches, g = P for GIS and half of that for GIS-H. A rank turns to
// its next chunk after g microbatches, so the microbatches alive are g for each chunk but the last
// and P there. The weight half comes straight after the input half, but no longer stands between
// the input halves of neighbouring ranks. Below P, a chunk's first microbatch is not back from the
// other ranks when the group ends: GIS-H waits then, once while the pipeline fills where F = I = W.
//
// The last group may be incomplete: it is a whole one without the surplus, as in the reference
// implementation. Fewer microbatches than g are a group of their own.

#include <algorithm>
#include <cstddef>
#include <vector>

#include "costs/cost_model.h"
#include "scheduler/generate.h"
#include "scheduler/generators/families.h"
#include "scheduler/generators/prune.h"
#include "scheduler/generators/rounds.h"
#include "scheduler/op.h"
#include "scheduler/pipeline.h"
#include "scheduler/schedule.h"

namespace dualpipe {
namespace {

int half(int ranks) {
  return (ranks + 1) / 2;
}

RankOrders order_in_groups(const Shape& shape, int group_max) {
  const int group = std::min(group_max, shape.microbatches);
  const int groups = (shape.microbatches + group - 1) / group;
  const Shape whole{.ranks = shape.ranks, .microbatches = groups * group, .chunks = shape.chunks};
  const std::vector<int> rounds(static_cast<std::size_t>(groups), group);
  RankOrders ranks;
  for (int rank = 0; rank < shape.ranks; ++rank) {
    ranks.push_back(alternate(in_rounds(OpKind::forward, rank, whole, rounds),
                              in_rounds(OpKind::backward_input, rank, whole, rounds),
                              {.warmup = shape.ranks - 1 - rank + (shape.chunks - 1) * group}));
  }
  return prune(ranks, {.from = whole.microbatches, .to = shape.microbatches}, 1);
}

// The transfers of the forward fill and the backward drain, and one way around all ranks for every
// turn to another chunk; a weight half covers those of the steady state.
ClosedForm closed_form(const Shape& shape, const StageCosts& stage, Time p2p) {
  const int P = shape.ranks;
  const int M = shape.microbatches;
  const int v = shape.chunks;
  ClosedForm known{.peak_activations = std::min(v * P, M * v)};
  if (M % P == 0 && 2 * p2p <= stage.backward_weight) {
    const int transfers = P == 1 ? 0 : 2 * (P - 1) + (v - 1) * P;
    known.step_time = M * v * (stage.forward + stage.backward()) +
                      (P - 1) * (stage.forward + stage.backward_input) + transfers * p2p;
  }
  known.longest_rank_time = known.step_time;  // rank 0 begins first and ends last
  return known;
}

ClosedForm closed_form_half(const Shape& shape, const StageCosts& stage, Time p2p) {
  static_cast<void>(stage);
  static_cast<void>(p2p);
  const int group = std::min(half(shape.ranks), shape.microbatches);
  ClosedForm known;
  if (shape.microbatches % group == 0) {
    known.peak_activations =
        std::min((shape.chunks - 1) * group + shape.ranks, shape.microbatches * shape.chunks);
  }
  return known;
}

}  // namespace

constinit const Family gis_family{
    .name = "gis",
    .summary = "interleaved with split backwards and less memory",
    .source = "PipeOffload, Wan et al., ICML 2025",
    .requirement = "any ranks, any microbatches, any chunks",
    .step_time_formula = "Mv(F+B) + (P-1)(F+I) + (P(v+1)-2)c when P divides M",
    .supports = [](const Shape&) { return true; },
    .placement = [](const Shape& shape) { return looped_placement(shape.ranks, shape.chunks); },
    .order = [](const Shape& shape) { return order_in_groups(shape, shape.ranks); },
    .closed_form = closed_form,
};

constinit const Family gis_h_family{
    .name = "gis-h",
    .summary = "gis in groups of half the ranks: half its memory",
    .source = "PipeOffload, Wan et al., ICML 2025",
    .requirement = "any ranks, any microbatches, any chunks",
    .step_time_formula = "no closed form",
    .supports = [](const Shape&) { return true; },
    .placement = [](const Shape& shape) { return looped_placement(shape.ranks, shape.chunks); },
    .order = [](const Shape& shape) { return order_in_groups(shape, half(shape.ranks)); },
    .closed_form = closed_form_half,
};

}  // namespace dualpipe
