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

#include "runtime/models/adamw.h"
#include "runtime/models/attention.h"
#include "runtime/models/corpus.h"
#include "runtime/models/embedding.h"
#include "runtime/models/float_array.h"
#include "runtime/models/language_head.h"
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
  GptStage(const GptConfig& config, int stage);

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

  [[nodiscard]] const Parameters& parameters() const { return parameters_; }
  [[nodiscard]] Parameters& parameters() { return parameters_; }

 private:
  [[nodiscard]] StageMemory memory_of(const StageOp& op);
  [[nodiscard]] double loss_weight() const;
  [[nodiscard]] std::size_t stream_size() const { return config_.shape.rows() * width(); }
  [[nodiscard]] std::size_t width() const { return config_.shape.width(); }

  GptConfig config_;
  Corpus corpus_;
  Parameters parameters_;
  FloatLayout slot_layout_;
  std::optional<Embedding> embedding_;  // first stage
  FloatRange embedding_gradient_;       // in the slot, first stage: of the embedding's output
  std::vector<TransformerBlock> blocks_;
  std::optional<LanguageHead> head_;  // last stage
  AdamW optimizer_;

  std::vector<FloatArray> slots_;
  std::vector<double> losses_;  // [microbatch], last stage
  FloatArray scratch_;
  FloatArray stream_;                 // last stage, which has no output buffer to compute in
  std::vector<std::uint8_t> tokens_;  // of one microbatch
};

}  // namespace dualpipe
