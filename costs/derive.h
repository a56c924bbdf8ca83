// Costs from a model, a layout and a machine, instead of from a table: every stage's times and
// bytes, the transfer between stages and the end of the step. cost_sources.h says in words where
// each came from.

#pragma once

#include <cstdint>
#include <vector>

#include "costs/cost_model.h"
#include "costs/layer_times.h"
#include "costs/layout.h"
#include "costs/overlap.h"
#include "costs/transformer.h"

namespace dualpipe {

struct PipelineShape {
  int ranks = 1;
  int stages = 1;
  int directions = 1;  // two: every stage is on two ranks, each with half of the microbatches
};

struct DerivedStage {
  StageLayout layout{};
  std::vector<LayerTimes> pieces{};  // decoder layers, a layer and a head for every prediction
                                     // module, the head
  OverlappedChunks overlapped{};     // a forward and a backward of this stage
  // What a fully recomputed layer needs beyond its input while its backward runs; once per GPU.
  std::int64_t working_bytes = 0;
};

struct DerivedCosts {
  TrainingSetup setup{};  // with what complete_model() adds
  PipelineShape shape{};
  CostModel costs{};
  std::vector<DerivedStage> stages{};
  TransformerTotals totals{};          // of the model without prediction modules
  std::int64_t gpus = 1;               // in all: ranks * gpus_per_rank()
  double tokens_per_microbatch = 0.0;  // of all data-parallel replicas together

  // Model FLOP (TransformerTotals::model_flops()) per second and GPU, in 10^12. Requires: step > 0.
  [[nodiscard]] double model_tflops(Time step, int microbatches) const;
};

// The stage's times are those of one GPU of its rank (all have the same to do). An overlapped pair
// takes what overlap_chunks() says, but no less than either half on its own.
//
// Bytes are those of one GPU. `activation` is what the layers keep (transformer.h); `optimizer` is
// a GPU's shard where the optimizer is sharded. A tied head, and a prediction module's embedding,
// away from the embedding's stage are a copy of it; in a bidirectional pipeline the first and the
// last stage share a rank, and so the matrix.
//
// The end of the step: with two directions the replicas of a stage add their gradients (a ring of
// two). Over the data-parallel group - context * data GPUs, for routed experts the
// expert_replicas()
// - gradients are reduce-scattered and parameters all-gathered (ZeRO-1; Rajbhandari et al., 2020),
// or gradients all-reduced. The gradient norm is an all-reduce of one number over a tree. The
// optimizer reads a gradient, reads and writes its state and writes a weight at memory bandwidth.
//
// Pipeline ranks are blocks of gpus_per_rank() GPU numbers, so that neighbours share a node where a
// node has room for several.
// Requires: shape as of a placement. Throws Error (usage): the tables' own checks
// (complete_model(), require_parallel(), require_hardware(), layout_of()), a time of more than a
// thousand seconds, or bytes of more than a petabyte.
[[nodiscard]] DerivedCosts derive_costs(const TrainingSetup& setup, PipelineShape shape);

}  // namespace dualpipe
