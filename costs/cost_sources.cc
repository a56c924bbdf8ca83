#include "costs/cost_sources.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <ratio>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "costs/collectives.h"
#include "costs/cost_model.h"
#include "costs/derive.h"
#include "costs/hardware.h"
#include "costs/layout.h"
#include "costs/model.h"
#include "costs/overlap.h"
#include "costs/parallel.h"

namespace dualpipe {
namespace {

double milliseconds(Time time) {
  return std::chrono::duration<double, std::milli>(time).count();
}

double megabytes(std::int64_t bytes) {
  return static_cast<double>(bytes) / 1e6;
}

// "0.50 (one number)", "efficiency_forward (a curve over FLOP)".
std::string efficiency_words(std::string_view key, const std::vector<double>& own,
                             const std::vector<double>& general) {
  const std::string_view used = own.empty() ? "efficiency" : key;
  const std::vector<double>& list = own.empty() ? general : own;
  return list.size() == 1 ? fmt::format("{} {:g} (one number)", used, list.front())
                          : fmt::format("{} (a curve over FLOP)", used);
}

// "3 dense and 1 MoE layers, embedding".
std::string layout_words(const StageLayout& layout, const ModelConfig& model) {
  int moe = 0;
  for (const int layer : layout.layers) {
    moe += model.is_moe(layer) ? 1 : 0;
  }
  std::vector<std::string> parts;
  const auto add = [&](int count, std::string_view what) {
    if (count > 0) {
      parts.push_back(fmt::format("{} {}{}", count, what, count == 1 ? "" : "s"));
    }
  };
  add(static_cast<int>(layout.layers.size()) - moe, "dense layer");
  add(moe, "MoE layer");
  add(layout.mtp_layers, "prediction module");
  if (layout.embedding) {
    parts.emplace_back("embedding");
  }
  if (layout.head) {
    parts.emplace_back("output head");
  }
  return fmt::format("{}", fmt::join(parts, ", "));
}

Time sum_of(const std::vector<ChunkSpan>& spans) {
  Time sum{};
  for (const ChunkSpan& span : spans) {
    sum += span.end - span.begin;
  }
  return sum;
}

class Sources {
 public:
  explicit Sources(const DerivedCosts& derived) : derived_(derived) {}

  std::vector<CostSource> list() {
    add_totals();
    add_messages();
    for (std::size_t stage = 0; stage < derived_.stages.size(); ++stage) {
      stage_ = static_cast<int>(stage);
      add_times(derived_.stages[stage], derived_.costs.stages[stage]);
      add_bytes(derived_.stages[stage], derived_.costs.stages[stage].bytes);
      add_tail(derived_.costs.stages[stage].tail);
    }
    return std::move(sources_);
  }

 private:
  [[nodiscard]] const ModelConfig& model() const { return derived_.setup.model; }
  [[nodiscard]] const ParallelConfig& parallel() const { return derived_.setup.parallel; }
  [[nodiscard]] const HardwareConfig& hardware() const { return derived_.setup.hardware; }

  void add(std::string quantity, double value, std::string unit, std::string source) {
    sources_.push_back({.stage = stage_,
                        .quantity = std::move(quantity),
                        .value = value,
                        .unit = std::move(unit),
                        .source = std::move(source)});
  }
  void add(std::string quantity, Time value, std::string source) {
    add(std::move(quantity), milliseconds(value), "ms", std::move(source));
  }

  void add_totals() {
    add("parameters", derived_.totals.parameters / 1e9, "1e9",
        "embedding and output head counted, prediction modules not");
    add("active_parameters", derived_.totals.active_parameters / 1e9, "1e9",
        "the same, with the routed experts of one token alone");
    add("model_flops", derived_.totals.model_flops() / 1e9, "GFLOP/token",
        fmt::format("3 x (products {:.4g} + {} core attention {:.4g}) GFLOP; nothing for "
                    "recomputation",
                    derived_.totals.forward_gemm / 1e9, model().causal ? "causal" : "full",
                    derived_.totals.forward_attention / 1e9));
    add("gpus", static_cast<double>(derived_.gpus), "",
        fmt::format("{} ranks x tensor {} x context {} x data {}", derived_.shape.ranks,
                    parallel().tensor, parallel().context, parallel().data));
  }

  void add_messages() {
    const CostModel& costs = derived_.costs;
    const std::string bytes = fmt::format("{:g} tokens x {} values x 2 bytes / tensor {}",
                                          parallel().tokens(), model().hidden, parallel().tensor);
    add("p2p", costs.p2p,
        fmt::format("{} / ({:g} GB/s x {:g}) + {:g} us", bytes, hardware().network_gb_per_s,
                    hardware().communication_efficiency, hardware().network_latency_us));
    add("p2p_in_node", costs.p2p_in_node,
        fmt::format("{} / ({:g} GB/s x {:g}) + {:g} us; {} ranks share a node", bytes,
                    hardware().node_gb_per_s, hardware().communication_efficiency,
                    hardware().node_latency_us, costs.ranks_per_node));
    add("gradient_norm", costs.gradient_norm,
        fmt::format("one number up and down a tree of {} GPUs", derived_.gpus));
    add_exchange("dispatch", value_bytes(parallel().dispatch_type));
    add_exchange("combine", 2.0);
  }

  void add_exchange(const std::string& quantity, double bytes_per_value) {
    const double bytes = expert_exchange_bytes(model(), parallel(), hardware(), bytes_per_value);
    if (bytes > 0.0) {
      const double token_bytes = parallel().tokens() / parallel().tensor * model().hidden;
      add(quantity, bytes / 1e6, "MB",
          fmt::format("{:g} tokens x {} values x {:g} bytes x {:g} nodes or GPUs; the busiest GPU "
                      "sends {:g} times that",
                      parallel().tokens() / parallel().tensor, model().hidden, bytes_per_value,
                      bytes / token_bytes / bytes_per_value, parallel().expert_imbalance));
    }
  }

  // "FLOP at bf16 989.4 TFLOPS x ... x 0.848 of the SMs".
  [[nodiscard]] std::string speed(const std::string& efficiency,
                                  const std::string& attention) const {
    return fmt::format(
        "products at {} {:g} TFLOPS x {}, core attention at bf16 {:g} TFLOPS x {}, {:.3g} of the "
        "SMs",
        hardware().gemm_type, hardware().gemm_tflops(), efficiency, hardware().peak_bf16_tflops,
        attention, hardware().sm_share());
  }

  void add_times(const DerivedStage& stage, const StageCosts& costs) {
    const HardwareConfig& machine = hardware();
    Time sent_forward{};
    Time sent_backward{};
    for (const LayerTimes& piece : stage.pieces) {
      sent_forward += piece.dispatch_forward + piece.combine_forward;
      sent_backward += piece.dispatch_backward + piece.combine_backward;
    }
    const std::string what = layout_words(stage.layout, model());
    const auto words = [&](std::string_view key, const std::vector<double>& own) {
      return efficiency_words(key, own, machine.efficiency);
    };
    const bool has_head = stage.layout.head || stage.layout.mtp_layers > 0;
    const std::string head =
        has_head ? fmt::format("; output head at bf16 {:g} TFLOPS{}", machine.peak_bf16_tflops,
                               machine.efficiency_head.empty()
                                   ? ""
                                   : " x " + words("efficiency_head", machine.efficiency_head))
                 : "";
    add("forward", costs.forward,
        fmt::format("{}: {}; {:.3f} ms of it communication{}", what,
                    speed(words("efficiency_forward", machine.efficiency_forward),
                          words("efficiency_attention", machine.efficiency_attention)),
                    milliseconds(sent_forward), head));
    add("backward_input", costs.backward_input,
        fmt::format(
            "{}: {}; {:.3f} ms of it communication", what,
            speed(words("efficiency_input", machine.efficiency_input),
                  words("efficiency_attention_backward", machine.efficiency_attention_backward)),
            milliseconds(sent_backward), head));
    add("backward_weight", costs.backward_weight,
        fmt::format("{}: products at {} {:g} TFLOPS x {}{}", what, machine.gemm_type,
                    machine.gemm_tflops(), words("efficiency_weight", machine.efficiency_weight),
                    head));
    add("overlapped", costs.overlapped, overlapped_words(stage.overlapped, costs));
  }

  static std::string overlapped_words(const OverlappedChunks& pair, const StageCosts& costs) {
    const Time compute = sum_of(pair.compute);
    const Time communication = sum_of(pair.communication);
    const Time open = costs.overlapped - compute;
    const double hidden = communication > Time(0)
                              ? 100.0 * (1.0 - milliseconds(open) / milliseconds(communication))
                              : 100.0;
    return fmt::format(
        "two lanes list-scheduled: computing {:.3f} ms, communication {:.3f} ms, "
        "{:.0f} % of it hidden{}",
        milliseconds(compute), milliseconds(communication), hidden,
        costs.overlapped > pair.makespan ? "; no less than either half alone" : "");
  }

  void add_bytes(const DerivedStage& stage, const StageBytes& bytes) {
    const std::string each =
        fmt::format("of {:g} tokens / tensor {}", parallel().tokens(), parallel().tensor);
    add("activation_bytes", megabytes(bytes.activation), "MB",
        fmt::format("what the layers keep {} in {}, recompute \"{}\", {} flash attention", each,
                    parallel().activation_type, parallel().recompute,
                    parallel().flash_attention ? "with" : "without"));
    add("weight_operand_bytes", megabytes(bytes.weight_operands), "MB",
        fmt::format("inputs and output gradients of all matrices {}", each));
    add("logits_bytes", megabytes(bytes.logits), "MB", fmt::format("fp32 logits {}", each));
    add("boundary_bytes", megabytes(bytes.boundary), "MB", fmt::format("hidden states {}", each));
    add("working_bytes", megabytes(stage.working_bytes), "MB",
        fmt::format("one fully recomputed layer {}", each));
    const std::string held =
        fmt::format("a parameter, tensor {}, expert {}", parallel().tensor, parallel().expert);
    add("weight_bytes", megabytes(bytes.weights), "MB",
        fmt::format("{:g} bytes {}", parallel().weight_bytes, held));
    add("gradient_bytes", megabytes(bytes.gradients), "MB",
        fmt::format("{:g} bytes {}", parallel().gradient_bytes, held));
    add("optimizer_bytes", megabytes(bytes.optimizer), "MB",
        fmt::format("{:g} bytes {}, sharding {}", parallel().optimizer_bytes, held,
                    parallel().optimizer_sharding));
  }

  void add_tail(const StageTail& tail) {
    const bool is_sharded = parallel().optimizer_sharding == "zero1";
    const std::string group =
        fmt::format("{} GPUs ({} for experts)", parallel().context * parallel().data,
                    parallel().expert_replicas());
    add("replica_reduce", tail.replica_reduce, "gradients, in a ring of the two replicas");
    add("gradient_reduce", tail.gradient_reduce,
        fmt::format("{} of gradients over {}", is_sharded ? "reduce-scatter" : "all-reduce",
                    group));
    add("optimizer", tail.optimizer,
        fmt::format("gradient read, state read and written, weight written at {:g} GB/s",
                    hardware().memory_gb_per_s));
    add("parameter_gather", tail.parameter_gather,
        is_sharded ? fmt::format("all-gather of parameters over {}", group)
                   : std::string("every GPU updates all it has"));
  }

  const DerivedCosts& derived_;
  int stage_ = CostSource::all_stages;
  std::vector<CostSource> sources_;
};

}  // namespace

std::vector<CostSource> cost_sources(const DerivedCosts& derived) {
  return Sources(derived).list();
}

}  // namespace dualpipe
