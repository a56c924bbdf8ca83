#include "costs/layer_times.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include <fmt/format.h>

#include "costs/collectives.h"
#include "costs/cost_model.h"
#include "costs/error.h"
#include "costs/hardware.h"
#include "costs/model.h"
#include "costs/overlap.h"
#include "costs/parallel.h"
#include "costs/transformer.h"

namespace dualpipe {
namespace {

constexpr double bf16_bytes = 2.0;

// One GPU's share of the computing of a block.
class GpuWork {
 public:
  // `tflops`: peak for products with parameters. `own`: their efficiency in all three kinds of
  // work, or empty for each kind's.
  GpuWork(const TrainingSetup& setup, const Block& block, double tflops,
          const std::vector<double>& own = {})
      : setup_(setup), block_(block), tflops_(tflops), own_(own) {}

  [[nodiscard]] double forward() const {
    return products(block_.gemm, weights() * setup_.parallel.weight_bytes,
                    hardware().efficiency_forward) +
           core(block_.core_attention, 1.0, hardware().efficiency_attention);
  }
  [[nodiscard]] double backward_input() const {
    const double again = products(block_.recomputed_gemm, 0.0, hardware().efficiency_forward) +
                         core(block_.recomputed_attention, 1.0, hardware().efficiency_attention);
    return again +
           products(block_.gemm, weights() * setup_.parallel.weight_bytes,
                    hardware().efficiency_input) +
           core(block_.attention_backward * block_.core_attention, 2.0,
                hardware().efficiency_attention_backward);
  }
  [[nodiscard]] double backward_weight() const {
    return products(block_.gemm, weights() * setup_.parallel.gradient_bytes,
                    hardware().efficiency_weight);
  }

 private:
  [[nodiscard]] const HardwareConfig& hardware() const { return setup_.hardware; }
  [[nodiscard]] double share() const { return setup_.parallel.tokens() / setup_.parallel.tensor; }
  // Parameters that the GPU holds of the block.
  [[nodiscard]] double weights() const {
    return (block_.parameters + block_.expert_parameters / setup_.parallel.expert) /
           setup_.parallel.tensor;
  }

  [[nodiscard]] double rate(double tflops, const std::vector<double>& own, double flops) const {
    return tflops * 1e12 * efficiency_at(own, hardware().efficiency, flops) * hardware().sm_share();
  }

  // Products with parameters: every one of them reads or writes two operands of the size that the
  // weight half reads, and `parameter_bytes` in all.
  [[nodiscard]] double products(double gemm, double parameter_bytes,
                                const std::vector<double>& of_kind) const {
    if (gemm == 0.0) {
      return 0.0;
    }
    const std::vector<double>& own = own_.empty() ? of_kind : own_;
    const double flops = gemm * share();
    const double bytes = parameter_bytes + block_.operand_bytes * share();
    return std::max(flops / rate(tflops_, own, flops), bytes / (1e9 * hardware().memory_gb_per_s)) +
           1e-6 * hardware().launch_us;
  }

  // Core attention; `passes`: how often keys and values, or their gradients, go round the ring.
  [[nodiscard]] double core(double attention, double passes, const std::vector<double>& own) const {
    if (attention == 0.0) {
      return 0.0;
    }
    const double flops = attention * share();
    const double computing = flops / rate(hardware().peak_bf16_tflops, own, flops);
    return std::max(computing, passes * ring()) + 1e-6 * hardware().launch_us;
  }

  // Keys and values of a microbatch's other tokens, from the neighbour in the ring (Liu et al.,
  // "Ring Attention with Blockwise Transformers", 2023).
  [[nodiscard]] double ring() const {
    const ParallelConfig& parallel = setup_.parallel;
    const ModelConfig& model = setup_.model;
    const double width =
        model.attention == "mla"
            ? static_cast<double>(model.heads) *
                  (model.head_size_nope + model.head_size_rope + model.head_size_value)
            : 2.0 * model.kv_heads * model.head_size;
    const GpuGroup group{.members = parallel.context, .stride = parallel.tensor};
    return (parallel.context - 1) *
           message_time(hardware(), group.in_node(hardware()), bf16_bytes * width * share())
               .seconds();
  }

  const TrainingSetup& setup_;
  const Block& block_;
  double tflops_ = 0.0;
  std::vector<double> own_;
};

// All-gather of a block's input, or reduce-scatter of its output, between the tensor slices
// (Korthikanti et al., section 4.2.2).
double sequence_exchange(const TrainingSetup& setup) {
  return ring_seconds(setup.hardware, {.members = setup.parallel.tensor},
                      bf16_bytes * setup.parallel.tokens() * setup.model.hidden);
}

// A layer with `attention` and `mlp` of its kind, whatever they are made of.
LayerTimes times_of(const TrainingSetup& setup, const LayerBlocks& blocks, LayerKind kind,
                    Recompute recompute) {
  const double tflops = setup.hardware.gemm_tflops();
  const GpuWork attention(setup, blocks.attention, tflops);
  const GpuWork mlp(setup, blocks.mlp, tflops);
  const double slices = 2.0 * sequence_exchange(setup);  // out of one block and into the next
  const auto experts = [&](double bytes_per_value) {
    return kind == LayerKind::moe ? expert_exchange_seconds(setup.model, setup.parallel,
                                                            setup.hardware, bytes_per_value)
                                  : 0.0;
  };
  // A gradient goes to the experts as a token does, and comes back as an expert's output does.
  const double there = slices + experts(value_bytes(setup.parallel.dispatch_type));
  const double back = slices + experts(bf16_bytes);
  const double again = recompute == Recompute::full ? there : 0.0;
  return {
      .attention_forward = whole_time(attention.forward(), "attention, forward"),
      .dispatch_forward = whole_time(there, "dispatch"),
      .mlp_forward = whole_time(mlp.forward(), "MLP, forward"),
      .combine_forward = whole_time(back, "combine"),
      .combine_backward = whole_time(again + there, "combine, backward"),
      .mlp_input = whole_time(mlp.backward_input(), "MLP, input gradient"),
      .mlp_weight = whole_time(mlp.backward_weight(), "MLP, weight gradient"),
      .dispatch_backward = whole_time(back, "dispatch, backward"),
      .attention_input = whole_time(attention.backward_input(), "attention, input gradient"),
      .attention_weight = whole_time(attention.backward_weight(), "attention, weight gradient")};
}

}  // namespace

Time whole_time(double seconds, const char* what) {
  constexpr double seconds_max = 1000.0;
  const bool is_inside = seconds >= 0.0 && seconds <= seconds_max;  // no NaN is
  if (!is_inside) {
    throw Error(ExitCode::usage,
                fmt::format("{}: expected at most {:g} s for one microbatch at one stage, found "
                            "{:g} s; look at [model], [parallel] and [hardware]",
                            what, seconds_max, seconds));
  }
  return Time(std::llround(seconds * 1e9));
}

LayerTimes decoder_layer_times(const TrainingSetup& setup, LayerKind kind, Recompute recompute) {
  const LayerTraining training = layer_training(setup.parallel, recompute);
  return times_of(setup, layer_blocks(setup.model, kind, training), kind, recompute);
}

LayerTimes head_times(const TrainingSetup& setup) {
  const Block block = head_block(setup.model);
  const GpuWork head(setup, block, setup.hardware.peak_bf16_tflops, setup.hardware.efficiency_head);
  return {.mlp_forward = whole_time(head.forward(), "output head, forward"),
          .mlp_input = whole_time(head.backward_input(), "output head, input gradient"),
          .mlp_weight = whole_time(head.backward_weight(), "output head, weight gradient")};
}

LayerTimes mtp_times(const TrainingSetup& setup, LayerKind kind, Recompute recompute) {
  const LayerTraining training = layer_training(setup.parallel, recompute);
  LayerBlocks blocks = layer_blocks(setup.model, kind, training);
  blocks.attention += mtp_block(setup.model, training);
  return times_of(setup, blocks, kind, recompute);
}

}  // namespace dualpipe
