#include "costs/derive.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "costs/check.h"
#include "costs/collectives.h"
#include "costs/cost_model.h"
#include "costs/error.h"
#include "costs/hardware.h"
#include "costs/layer_times.h"
#include "costs/layout.h"
#include "costs/model.h"
#include "costs/overlap.h"
#include "costs/parallel.h"
#include "costs/transformer.h"

namespace dualpipe {
namespace {

std::int64_t whole_bytes(double bytes, const char* what) {
  constexpr double bytes_max = 1e15;
  if (!(bytes <= bytes_max)) {
    throw Error(ExitCode::usage,
                fmt::format("{}: expected at most {:g} bytes on one GPU, found {:g}; look at "
                            "[model] and [parallel]",
                            what, bytes_max, bytes));
  }
  return std::llround(bytes);
}

// Of one message between stages: a microbatch's hidden states, or their gradients, in bf16.
double boundary_bytes(const TrainingSetup& setup, PipelineShape shape) {
  constexpr double bf16_bytes = 2.0;
  return shape.stages == 1
             ? 0.0
             : bf16_bytes * setup.model.hidden * setup.parallel.tokens() / setup.parallel.tensor;
}

// What one stage is made of.
class StageBuilder {
 public:
  StageBuilder(const TrainingSetup& setup, PipelineShape shape, const StageLayout& layout)
      : setup_(setup), shape_(shape), layout_(layout) {
    add_layers(recompute_of_layers(setup.parallel, setup.model.layers));
    add_ends();
  }

  [[nodiscard]] DerivedStage stage(Time boundary) const {
    return {.layout = layout_,
            .pieces = pieces_,
            .overlapped = overlap_chunks(pieces_, pieces_, boundary),
            .working_bytes = whole_bytes(working_bytes_ * share(), "recomputation")};
  }

  [[nodiscard]] StageCosts costs(const OverlappedChunks& overlapped) const {
    StageCosts costs;
    for (const LayerTimes& piece : pieces_) {
      costs.forward += piece.forward();
      costs.backward_input += piece.backward_input();
      costs.backward_weight += piece.backward_weight();
    }
    costs.overlapped = std::max({overlapped.makespan, costs.forward, costs.backward()});
    costs.bytes = bytes();
    costs.tail = tail();
    return costs;
  }

 private:
  [[nodiscard]] const ParallelConfig& parallel() const { return setup_.parallel; }
  // Tokens whose activations a GPU keeps whole, as it were.
  [[nodiscard]] double share() const { return parallel().tokens() / parallel().tensor; }
  [[nodiscard]] double dense_parameters() const { return held_.parameters / parallel().tensor; }
  [[nodiscard]] double expert_parameters() const {
    return held_.expert_parameters / parallel().tensor / parallel().expert;
  }

  void add_layers(const std::vector<Recompute>& recompute) {
    const ModelConfig& model = setup_.model;
    const auto kind_of = [&](int layer) {
      return model.is_moe(layer) ? LayerKind::moe : LayerKind::dense;
    };
    for (const int layer : layout_.layers) {
      const Recompute mode = recompute[static_cast<std::size_t>(layer)];
      add_layer(kind_of(layer), mode);
      pieces_.push_back(decoder_layer_times(setup_, kind_of(layer), mode));
    }
    for (int module = 0; module < layout_.mtp_layers; ++module) {
      const LayerKind kind = kind_of(model.layers - 1);
      add_layer(kind, recompute.back());
      held_ += mtp_block(model, layer_training(parallel(), recompute.back()));
      pieces_.push_back(mtp_times(setup_, kind, recompute.back()));
      pieces_.push_back(head_times(setup_));
    }
  }

  void add_layer(LayerKind kind, Recompute recompute) {
    const LayerBlocks blocks =
        layer_blocks(setup_.model, kind, layer_training(parallel(), recompute));
    held_ += blocks.total();
    working_bytes_ = std::max(working_bytes_, blocks.working_bytes);
  }

  void add_ends() {
    const ModelConfig& model = setup_.model;
    const double matrix = static_cast<double>(model.vocabulary) * model.hidden;
    const bool has_embedding = layout_.embedding || (layout_.head && shape_.directions == 2);
    if (layout_.embedding) {
      held_ += embedding_block(model);
    }
    if (layout_.head) {
      held_ += head_block(model);
      pieces_.push_back(head_times(setup_));
      logits_bytes_ += logits_bytes(model);
    }
    for (int module = 0; module < layout_.mtp_layers; ++module) {
      // A pass through the head keeps what the head's own does, but the matrix is there once.
      Block pass = head_block(model);
      pass.parameters = 0.0;
      held_ += pass;
      logits_bytes_ += logits_bytes(model);
    }
    const bool reads_embedding = layout_.mtp_layers > 0 || (layout_.head && model.tied_embeddings);
    if (reads_embedding && !has_embedding) {
      held_.parameters += matrix;
    }
    const bool reads_head = layout_.mtp_layers > 0 && !model.tied_embeddings;
    if (reads_head && !layout_.head) {
      held_.parameters += matrix;
    }
  }

  [[nodiscard]] StageBytes bytes() const {
    const double dense = dense_parameters();
    const double expert = expert_parameters();
    return {
        .activation = whole_bytes(held_.activation_bytes * share(), "activations"),
        .weight_operands = whole_bytes(held_.operand_bytes * share(), "weight operands"),
        .logits = whole_bytes(logits_bytes_ * share(), "logits"),
        .boundary = whole_bytes(boundary_bytes(setup_, shape_), "boundary"),
        .weights = whole_bytes((dense + expert) * parallel().weight_bytes, "weights"),
        .gradients = whole_bytes((dense + expert) * parallel().gradient_bytes, "gradients"),
        .optimizer = whole_bytes(shard(dense, expert) * parallel().optimizer_bytes, "optimizer")};
  }

  // Parameters whose optimizer state a GPU keeps.
  [[nodiscard]] double shard(double dense, double expert) const {
    if (parallel().optimizer_sharding == "none") {
      return dense + expert;
    }
    return dense / (parallel().context * parallel().data) + expert / parallel().expert_replicas();
  }

  // A ring over the groups that hold the same parameters, for so many bytes of each.
  [[nodiscard]] double ring(double bytes_per_parameter) const {
    const GpuGroup dense{.members = parallel().context * parallel().data,
                         .stride = parallel().tensor};
    const GpuGroup expert{.members = parallel().expert_replicas(),
                          .stride = std::int64_t{parallel().tensor} * parallel().expert};
    return ring_seconds(setup_.hardware, dense, bytes_per_parameter * dense_parameters()) +
           (held_.expert_parameters > 0.0
                ? ring_seconds(setup_.hardware, expert, bytes_per_parameter * expert_parameters())
                : 0.0);
  }

  [[nodiscard]] StageTail tail() const {
    const bool is_sharded = parallel().optimizer_sharding == "zero1";
    const double gradients = (dense_parameters() + expert_parameters()) * parallel().gradient_bytes;
    const bool in_node = shape_.ranks * parallel().gpus_per_rank() <= setup_.hardware.gpus_per_node;
    // A ring of two: each sends half of the bytes, then half again.
    const double half = message_time(setup_.hardware, in_node, gradients / 2.0).seconds();
    const double state_bytes =
        parallel().gradient_bytes + 2.0 * parallel().optimizer_bytes + parallel().weight_bytes;
    const double update = shard(dense_parameters(), expert_parameters()) * state_bytes /
                          (1e9 * setup_.hardware.memory_gb_per_s);
    return {
        .replica_reduce =
            whole_time(shape_.directions == 2 ? 2.0 * half : 0.0, "reduction of replicas"),
        .gradient_reduce = whole_time((is_sharded ? 1.0 : 2.0) * ring(parallel().gradient_bytes),
                                      "reduction of gradients"),
        .optimizer = whole_time(update, "optimizer"),
        .parameter_gather = whole_time(is_sharded ? ring(parallel().weight_bytes) : 0.0,
                                       "gathering of parameters")};
  }

  const TrainingSetup& setup_;
  PipelineShape shape_;
  StageLayout layout_;
  std::vector<LayerTimes> pieces_;
  Block held_;  // all that the stage has, per token
  double logits_bytes_ = 0.0;
  double working_bytes_ = 0.0;
};

TrainingSetup checked(TrainingSetup setup) {
  setup.model = complete_model(std::move(setup.model));
  require_parallel(setup.parallel, setup.model);
  require_hardware(setup.hardware);
  return setup;
}

void set_transfers(const TrainingSetup& setup, PipelineShape shape, CostModel& costs) {
  const ParallelConfig& parallel = setup.parallel;
  const HardwareConfig& hardware = setup.hardware;
  const double bytes = boundary_bytes(setup, shape);
  const MessageTime far = message_time(hardware, false, bytes);
  const MessageTime near = message_time(hardware, true, bytes);
  costs.p2p_latency = whole_time(far.latency, "transfer");
  costs.p2p = costs.p2p_latency + whole_time(far.busy, "transfer");
  costs.p2p_in_node_latency = whole_time(near.latency, "transfer in a node");
  costs.p2p_in_node = costs.p2p_in_node_latency + whole_time(near.busy, "transfer in a node");
  costs.ranks_per_node = static_cast<int>(
      std::max<std::int64_t>(1, hardware.gpus_per_node / parallel.gpus_per_rank()));
  const std::int64_t gpus = shape.ranks * parallel.gpus_per_rank();
  const double hops = 2.0 * std::ceil(std::log2(static_cast<double>(gpus)));  // up a tree and down
  const bool in_node = gpus <= hardware.gpus_per_node;
  costs.gradient_norm =
      whole_time(hops * message_time(hardware, in_node, 0.0).latency, "gradient norm");
}

}  // namespace

double DerivedCosts::model_tflops(Time step, int microbatches) const {
  CHECK(step > Time(0));
  const double seconds = std::chrono::duration<double>(step).count();
  return totals.model_flops() * tokens_per_microbatch * microbatches / static_cast<double>(gpus) /
         seconds / 1e12;
}

DerivedCosts derive_costs(const TrainingSetup& given, PipelineShape shape) {
  CHECK(shape.ranks > 0 && shape.stages > 0 && shape.directions > 0);
  DerivedCosts derived{.setup = checked(given), .shape = shape};
  const TrainingSetup& setup = derived.setup;
  const ParallelConfig& parallel = setup.parallel;
  derived.totals = transformer_totals(setup.model, parallel.sequence);
  derived.gpus = shape.ranks * parallel.gpus_per_rank();
  derived.tokens_per_microbatch =
      static_cast<double>(parallel.sequence) * parallel.microbatch_size * parallel.data;
  set_transfers(setup, shape, derived.costs);
  const Time boundary = 2 * derived.costs.link(0, 1).busy;  // one of each direction's transfers
  for (const StageLayout& layout : layout_of(setup.model, parallel, shape.stages)) {
    const StageBuilder builder(setup, shape, layout);
    derived.stages.push_back(builder.stage(boundary));
    derived.costs.stages.push_back(builder.costs(derived.stages.back().overlapped));
  }
  return derived;
}

}  // namespace dualpipe
