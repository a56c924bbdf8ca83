// One stage of the language model: a run of transformer blocks, at the first stage behind the
// embedding, at the last before the head. What passes between stages is the residual stream.

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "runtime/device.h"
#include "runtime/models/adamw.h"
#include "runtime/models/attention.h"
#include "runtime/models/corpus.h"
#include "runtime/models/embedding.h"
#include "runtime/models/float_layout.h"
#include "runtime/models/language_head.h"
#include "runtime/models/math.h"
#include "runtime/models/parameters.h"
#include "runtime/models/transformer_block.h"
#include "runtime/stage.h"

namespace dualpipe {

// The options once they are known to fit; no field has a default.
struct GptConfig {
  int stages = 0;
  int layers = 0;
  int microbatches = 0;
  std::uint64_t seed = 0;
  AttentionShape shape;
  AdamWOptions optimizer;
  std::shared_ptr<const std::string> text;
};

class GptStage final : public Stage {
 public:
  // The Math must outlive the stage.
  GptStage(const GptConfig& config, int stage, Math& math);

  [[nodiscard]] std::size_t input_bytes() const override;
  [[nodiscard]] std::size_t output_bytes() const override;
  [[nodiscard]] std::size_t parameter_count() const override;
  [[nodiscard]] std::int64_t activation_bytes() const override;

  void allocate(int activation_slots) override;

  void forward(const StageOp& op, std::span<const std::byte> input,
               std::span<std::byte> output) override;
  [[nodiscard]] double loss(int microbatch) const override;
  void backward_input(const StageOp& op, std::span<const std::byte> output_gradient,
                      std::span<std::byte> input_gradient) override;
  void backward_weight(const StageOp& op, std::span<float> gradient) override;
  void apply_gradient(std::span<const float> gradient) override;
  [[nodiscard]] std::vector<std::byte> save() const override;
  void restore(std::span<const std::byte> state) override;
  // Where there is a side queue, the backward runs there.
  void forward_overlapped(const ForwardCall& forward, Stage& other,
                          const BackwardCall& backward) override;

  [[nodiscard]] const Parameters& parameters() const { return parameters_; }
  [[nodiscard]] Parameters& parameters() { return parameters_; }

 private:
  // A queue to ask, and scratch for what is asked of it.
  struct Work {
    Math& math;
    std::span<float> scratch;
  };
  [[nodiscard]] Work main_work() { return {.math = math_, .scratch = scratch_.floats()}; }
  [[nodiscard]] Work side_work() { return {.math = *math_.side(), .scratch = side_.floats()}; }
  void forward_on(const Work& work, const ForwardCall& call);
  void backward_input_on(const Work& work, const BackwardCall& call);
  void backward_weight_on(const Work& work, const BackwardCall& call);

  void try_out();
  [[nodiscard]] std::span<float> slot_of(const StageOp& op);
  // Part `number` of memory for several microbatches' tokens.
  [[nodiscard]] std::span<std::uint8_t> tokens_in(const DeviceMemory& memory, int number) const;
  [[nodiscard]] std::span<double> losses() const;
  [[nodiscard]] double loss_weight() const;
  [[nodiscard]] std::size_t stream_size() const { return config_.shape.rows() * width(); }
  [[nodiscard]] std::size_t width() const { return config_.shape.width(); }

  GptConfig config_;
  Math& math_;
  Corpus corpus_;
  Parameters parameters_;
  FloatLayout slot_layout_;
  std::optional<Embedding> embedding_;  // first stage
  FloatRange embedding_gradient_;       // in the slot, first stage: of the embedding's output
  std::vector<TransformerBlock> blocks_;
  std::optional<LanguageHead> head_;  // last stage
  AdamW optimizer_;

  std::vector<DeviceMemory> slots_;
  DeviceMemory scratch_;
  DeviceMemory side_;     // scratch of the side queue, where there is one
  DeviceMemory stream_;   // last stage, which has no output buffer to compute in
  DeviceMemory inputs_;   // first stage: tokens of [slot]
  DeviceMemory targets_;  // last stage: tokens of the microbatch at its loss
  // In the host's memory. The host may be many microbatches ahead of the queue, so each has a
  // place.
  DeviceMemory host_inputs_;   // first stage: tokens of [microbatch]
  DeviceMemory host_targets_;  // last stage, likewise
  DeviceMemory losses_;        // last stage: double of [microbatch]
};

}  // namespace dualpipe
