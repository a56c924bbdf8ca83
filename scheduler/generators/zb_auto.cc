// ZB-1p and ZB-2p (Qi et al., ICLR 2024): one stage per rank, backwards split, arranged for the
// costs at hand under a limit of P or 2P activations. ZB-1p reaches the lower bound of its memory,
// as ZB-H1 does where M > P; ZB-2p has hardly any bubble.

#include <cstdint>

#include "costs/cost_model.h"
#include "scheduler/arrange/arrange.h"
#include "scheduler/arrange/memory_model.h"
#include "scheduler/arrange/tracks.h"
#include "scheduler/generate.h"
#include "scheduler/generators/families.h"
#include "scheduler/pipeline.h"
#include "scheduler/schedule.h"

namespace dualpipe {
namespace {

Placement placement(const Shape& shape) {
  return linear_placement(shape.ranks);
}

RankOrders arrange_linear(const Shape& shape, const Target& target, const Family& family,
                          const OwnLimit& own) {
  Tracks tracks = tracks_of(placement(shape), shape.microbatches, target.costs);
  set_memory_model(tracks, target, own, family.name);
  const Seeds seeds{.words = {words_of(tracks, zb_h1_family.order(shape)),
                              words_of(tracks, zb_h2_family.order(shape))},
                    .plans = {}};
  return orders_of(
      tracks,
      arrange(tracks, seeds, {.objective = {.rank_time_weight = 4}, .effort = target.effort}));
}

RankOrders arrange_1p(const Shape& shape, const Target& target) {
  return arrange_linear(shape, target, zb_1p_family, {.activations = shape.ranks});
}

// The published heuristics count an activation as half once its input half is done, and with that
// the 2P that gave the schedule its name.
RankOrders arrange_2p(const Shape& shape, const Target& target) {
  return arrange_linear(shape, target, zb_2p_family,
                        {.activations = 2 * std::int64_t{shape.ranks}, .halved_by_input = true});
}

ClosedForm unknown(const Shape& /*shape*/, const StageCosts& /*stage*/, Time /*p2p*/) {
  return {};
}

// With more microbatches than ranks ZB-H1 reaches the lower bound at P activations, and this is no
// slower.
ClosedForm closed_form_1p(const Shape& shape, const StageCosts& stage, Time p2p) {
  if (shape.microbatches <= shape.ranks) {
    return {};
  }
  return {.longest_rank_time = zb_h1_family.closed_form(shape, stage, p2p).longest_rank_time};
}

}  // namespace

constinit const Family zb_1p_family{
    .name = "zb-1p",
    .summary = "zero bubble arranged for the costs, in the memory of 1F1B",
    .source = "Zero Bubble Pipeline Parallelism, Qi et al., ICLR 2024",
    .requirement = "any ranks, any microbatches",
    .step_time_formula = "depends on the costs; longest rank as zb-h1",
    .supports = [](const Shape&) { return true; },
    .placement = placement,
    .arrange = arrange_1p,
    .closed_form = closed_form_1p,
};

constinit const Family zb_2p_family{
    .name = "zb-2p",
    .summary = "zero bubble arranged for the costs, in twice the memory of 1F1B",
    .source = "Zero Bubble Pipeline Parallelism, Qi et al., ICLR 2024",
    .requirement = "any ranks, any microbatches",
    .step_time_formula = "depends on the costs",
    .supports = [](const Shape&) { return true; },
    .placement = placement,
    .arrange = arrange_2p,
    .closed_form = unknown,
};

}  // namespace dualpipe
