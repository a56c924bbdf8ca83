// Interleaved 1F1B: every rank holds several chunks of the model, chunk k of rank r being stage
// k*P + r, and runs P microbatches of one chunk before it turns to the next. The pipeline fills in
// steps of one chunk, so the bubble shrinks by the number of chunks; memory and messages grow.

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

// The step-th forward (or backward) of a rank: Megatron's get_model_chunk_id. Backwards visit the
// chunks in reverse.
Op nth_op(int step, OpKind kind, int rank, const Shape& shape) {
  const int P = shape.ranks;
  const int v = shape.chunks;
  const int chunk = step % (P * v) / P;
  const int visited = kind == OpKind::forward ? chunk : v - 1 - chunk;
  const int microbatch = step / (P * v) * P + step % P;
  return {visited * P + rank, kind, microbatch};
}

std::vector<Slot> order_of_rank(int rank, const Shape& shape) {
  const int steps = shape.microbatches * shape.chunks;
  const int warmup =
      std::min(2 * (shape.ranks - 1 - rank) + (shape.chunks - 1) * shape.ranks, steps);
  std::vector<Slot> slots;
  slots.reserve(2 * static_cast<std::size_t>(steps));
  for (int forward = 0; forward < warmup; ++forward) {
    slots.emplace_back(nth_op(forward, OpKind::forward, rank, shape));
  }
  for (int backward = 0; backward < steps; ++backward) {
    if (backward + warmup < steps) {
      slots.emplace_back(nth_op(backward + warmup, OpKind::forward, rank, shape));
    }
    slots.emplace_back(nth_op(backward, OpKind::backward, rank, shape));
  }
  return slots;
}

Schedule interleaved(const Shape& shape) {
  Schedule schedule{.pipeline = {.name = "interleaved",
                                 .placement = looped_placement(shape.ranks, shape.chunks),
                                 .direction = directions_of_microbatches(shape.microbatches, 1)},
                    .ranks = {}};
  for (int rank = 0; rank < shape.ranks; ++rank) {
    schedule.ranks.push_back(order_of_rank(rank, shape));
  }
  return schedule;
}

ClosedForm closed_form(const Shape& shape, const StageCosts& stage, Time p2p) {
  const int P = shape.ranks;
  const int M = shape.microbatches;
  const int v = shape.chunks;
  ClosedForm known{.step_time = std::nullopt, .peak_activations = std::min(v * P + P - 1, M * v)};
  if (p2p == Time{} || P == 1) {
    known.step_time = (M * v + P - 1) * (stage.forward + stage.backward());
  }
  return known;
}

}  // namespace

constinit const Family interleaved_family{
    .name = "interleaved",
    .summary = "1F1B over several chunks per rank",
    .source = "Megatron-LM, Narayanan et al., SC 2021",
    .requirement = "microbatches a multiple of ranks",
    .step_time_formula = "(Mv+P-1)(F+B)",
    .supports = [](const Shape& shape) { return shape.microbatches % shape.ranks == 0; },
    .generate = interleaved,
    .closed_form = closed_form,
};

}  // namespace dualpipe
