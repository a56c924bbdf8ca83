#include "runtime/models/gpt_stage.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <ranges>
#include <span>
#include <utility>
#include <vector>

#include "costs/check.h"
#include "runtime/models/adamw.h"
#include "runtime/models/embedding.h"
#include "runtime/models/float_array.h"
#include "runtime/models/layer_norm.h"
#include "runtime/models/model_sizes.h"
#include "runtime/models/parameters.h"
#include "runtime/models/stage_state.h"
#include "runtime/models/transformer_block.h"
#include "runtime/stage.h"

namespace dualpipe {

// The order of the tensors is the order of the layers, so that the stages' gradients one after
// another are the gradient of the model in one stage.
GptStage::GptStage(const GptConfig& config, int stage)
    : config_(config),
      corpus_(config.text, config.seed, config.shape.sequence_length),
      parameters_(config.seed),
      optimizer_(config.optimizer) {
  if (stage == 0) {
    embedding_.emplace(
        EmbeddingShape{.sequence_length = config.shape.sequence_length, .width = width()},
        parameters_);
    embedding_gradient_ = slot_layout_.add(stream_size());
  }
  const LayerRange range =
      layers_of_stage({.layers = config.layers, .stages = config.stages}, stage);
  for (int layer = range.first; layer < range.first + range.count; ++layer) {
    const BlockPlace place{.layer = static_cast<std::size_t>(layer),
                           .layers = static_cast<std::size_t>(config.layers)};
    blocks_.emplace_back(config.shape, place, parameters_, slot_layout_);
  }
  if (stage == config.stages - 1) {
    head_.emplace(LayerNormShape{.rows = config.shape.rows(), .width = width()}, parameters_,
                  slot_layout_);
  }
}

std::size_t GptStage::input_bytes() const {
  return embedding_ ? 0 : stream_size() * sizeof(float);
}

std::size_t GptStage::output_bytes() const {
  return head_ ? 0 : stream_size() * sizeof(float);
}

std::size_t GptStage::parameter_count() const {
  return parameters_.values().size();
}

std::int64_t GptStage::activation_bytes() const {
  return static_cast<std::int64_t>(slot_layout_.size() * sizeof(float));
}

void GptStage::allocate(int activation_slots) {
  CHECK(slots_.empty() && activation_slots > 0);
  const std::size_t count = static_cast<std::size_t>(activation_slots);
  for (std::size_t slot = 0; slot < count; ++slot) {
    slots_.emplace_back(slot_layout_.size());
  }
  losses_.resize(static_cast<std::size_t>(config_.microbatches));
  scratch_ = FloatArray(TransformerBlock::scratch_size(config_.shape));
  stream_ = FloatArray(head_ ? stream_size() : 0);
  tokens_.resize(config_.shape.rows());
  optimizer_.allocate(parameter_count());
}

StageMemory GptStage::memory_of(const StageOp& op) {
  const std::size_t slot = static_cast<std::size_t>(op.slot);
  CHECK(slot < slots_.size());
  return {.slot = slots_[slot].values(), .scratch = scratch_.values()};
}

// The loss is the mean over the samples of all microbatches.
double GptStage::loss_weight() const {
  return 1.0 / (static_cast<double>(config_.shape.rows()) * config_.microbatches);
}

void GptStage::forward(const StageOp& op, std::span<const std::byte> input,
                       std::span<std::byte> output) {
  CHECK(input.size() == input_bytes() && output.size() == output_bytes());
  const StageMemory memory = memory_of(op);
  const std::span<float> stream = head_ ? stream_.values() : as_floats(output);
  if (embedding_) {
    corpus_.read_inputs(op, tokens_);
    embedding_->forward(parameters_, tokens_, stream);
  } else {
    std::ranges::copy(as_floats(input), stream.begin());
  }
  for (const TransformerBlock& block : blocks_) {
    block.forward(parameters_, memory, stream);
  }
  if (head_) {
    corpus_.read_targets(op, tokens_);
    head_->write_logits(parameters_, memory, stream);
    losses_[static_cast<std::size_t>(op.microbatch)] =
        head_->take_loss(tokens_, loss_weight(), memory.slot);
  }
}

double GptStage::loss(int microbatch) const {
  CHECK(head_ && std::cmp_less(microbatch, losses_.size()));
  return losses_[static_cast<std::size_t>(microbatch)];
}

void GptStage::backward_input(const StageOp& op, std::span<const std::byte> output_gradient,
                              std::span<std::byte> input_gradient) {
  CHECK(output_gradient.size() == output_bytes() && input_gradient.size() == input_bytes());
  const StageMemory memory = memory_of(op);
  const std::span<float> stream_gradient =
      embedding_ ? embedding_gradient_.in(memory.slot) : as_floats(input_gradient);
  if (head_) {
    head_->backward_input(parameters_, memory.slot, stream_gradient);
  } else {
    std::ranges::copy(as_floats(output_gradient), stream_gradient.begin());
  }
  for (const TransformerBlock& block : std::views::reverse(blocks_)) {
    block.backward_input(parameters_, memory, stream_gradient);
  }
}

void GptStage::backward_weight(const StageOp& op, std::span<float> gradient) {
  CHECK(gradient.size() == parameter_count());
  const StageMemory memory = memory_of(op);
  if (embedding_) {
    corpus_.read_inputs(op, tokens_);
    embedding_->backward_weight(tokens_, embedding_gradient_.in(memory.slot), gradient);
  }
  for (const TransformerBlock& block : blocks_) {
    block.backward_weight(parameters_, memory, gradient);
  }
  if (head_) {
    head_->backward_weight(parameters_, memory, gradient);
  }
}

void GptStage::apply_gradient(std::span<const float> gradient) {
  optimizer_.apply(gradient, parameters_);
}

std::vector<std::byte> GptStage::save() const {
  return save_state(parameters_, optimizer_);
}

void GptStage::restore(std::span<const std::byte> state) {
  restore_state(state, parameters_, optimizer_);
}

}  // namespace dualpipe
