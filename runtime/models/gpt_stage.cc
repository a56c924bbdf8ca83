#include "runtime/models/gpt_stage.h"

#include <cstddef>
#include <cstdint>
#include <ranges>
#include <span>
#include <utility>
#include <vector>

#include "costs/check.h"
#include "runtime/device.h"
#include "runtime/models/adamw.h"
#include "runtime/models/embedding.h"
#include "runtime/models/float_layout.h"
#include "runtime/models/language_head.h"
#include "runtime/models/layer_norm.h"
#include "runtime/models/math.h"
#include "runtime/models/model_sizes.h"
#include "runtime/models/parameters.h"
#include "runtime/models/stage_state.h"
#include "runtime/models/transformer_block.h"
#include "runtime/models/trial_call.h"
#include "runtime/stage.h"

namespace dualpipe {

// The order of the tensors is the order of the layers, so that the stages' gradients one after
// another are the gradient of the model in one stage.
GptStage::GptStage(const GptConfig& config, int stage, Math& math)
    : config_(config),
      math_(math),
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
  Device& device = math_.device();
  const std::size_t slots = static_cast<std::size_t>(activation_slots);
  const std::size_t microbatches = static_cast<std::size_t>(config_.microbatches);
  const std::size_t rows = config_.shape.rows();
  const std::size_t scratch_bytes = TransformerBlock::scratch_size(config_.shape) * sizeof(float);
  parameters_.move_to(device);
  optimizer_.allocate(device, parameter_count());
  for (std::size_t slot = 0; slot < slots; ++slot) {
    slots_.emplace_back(device, slot_layout_.size() * sizeof(float));
  }
  math_.reserve(TransformerBlock::operand_size(config_.shape));
  scratch_ = DeviceMemory(device, scratch_bytes);
  if (math_.side() != nullptr) {
    side_ = DeviceMemory(device, scratch_bytes);
  }
  if (embedding_) {
    inputs_ = DeviceMemory(device, slots * rows);
    host_inputs_ = DeviceMemory(device, microbatches * rows, MemoryHome::host);
  }
  if (head_) {
    math_.reserve(LanguageHead::operand_size({.rows = rows, .width = width()}));
    stream_ = DeviceMemory(device, stream_size() * sizeof(float));
    targets_ = DeviceMemory(device, rows);
    host_targets_ = DeviceMemory(device, microbatches * rows, MemoryHome::host);
    losses_ = DeviceMemory(device, microbatches * sizeof(double), MemoryHome::host);
  }
  if (TrialCall::is_wanted(device)) {
    try_out();
  }
}

// In each queue what a step asks of it: a forward runs in the main one alone.
void GptStage::try_out() {
  const TrialCall trial(*this, math_.device());
  const BackwardCall backward = trial.backward();
  forward_on(main_work(), trial.forward());
  backward_input_on(main_work(), backward);
  backward_weight_on(main_work(), backward);
  if (math_.side() != nullptr) {
    math_.fork();
    backward_input_on(side_work(), backward);
    backward_weight_on(side_work(), backward);
    math_.join();
  }
  trial.finish();
}

std::span<float> GptStage::slot_of(const StageOp& op) {
  const std::size_t slot = static_cast<std::size_t>(op.slot);
  CHECK(slot < slots_.size());
  return slots_[slot].floats();
}

std::span<std::uint8_t> GptStage::tokens_in(const DeviceMemory& memory, int number) const {
  const std::size_t rows = config_.shape.rows();
  const std::span<std::byte> part =
      memory.bytes().subspan(static_cast<std::size_t>(number) * rows, rows);
  return {reinterpret_cast<std::uint8_t*>(part.data()), part.size()};
}

std::span<double> GptStage::losses() const {
  const std::span<std::byte> bytes = losses_.bytes();
  return {reinterpret_cast<double*>(bytes.data()), bytes.size() / sizeof(double)};
}

// The loss is the mean over the samples of all microbatches.
double GptStage::loss_weight() const {
  return 1.0 / (static_cast<double>(config_.shape.rows()) * config_.microbatches);
}

void GptStage::forward_on(const Work& work, const ForwardCall& call) {
  CHECK(call.input.size() == input_bytes() && call.output.size() == output_bytes());
  Math& math = work.math;
  const StageMemory memory{.slot = slot_of(call.op), .scratch = work.scratch};
  const std::span<float> stream = head_ ? stream_.floats() : as_floats(call.output);
  if (embedding_) {
    const std::span<std::uint8_t> read = tokens_in(host_inputs_, call.op.microbatch);
    const std::span<std::uint8_t> tokens = tokens_in(inputs_, call.op.slot);
    corpus_.read_inputs(call.op, read);
    math.copy(std::as_bytes(read), std::as_writable_bytes(tokens));
    embedding_->forward(math, parameters_, tokens, stream);
  } else {
    math.copy(as_floats(call.input), stream);
  }
  for (const TransformerBlock& block : blocks_) {
    block.forward(math, parameters_, memory, stream);
  }
  if (head_) {
    const std::span<std::uint8_t> read = tokens_in(host_targets_, call.op.microbatch);
    const std::span<std::uint8_t> tokens = tokens_in(targets_, 0);
    corpus_.read_targets(call.op, read);
    math.copy(std::as_bytes(read), std::as_writable_bytes(tokens));
    head_->write_logits(math, parameters_, memory, stream);
    head_->take_loss(math, {.tokens = tokens, .weight = loss_weight()}, memory,
                     losses()[static_cast<std::size_t>(call.op.microbatch)]);
  }
}

void GptStage::backward_input_on(const Work& work, const BackwardCall& call) {
  CHECK(call.output_gradient.size() == output_bytes());
  CHECK(call.input_gradient.size() == input_bytes());
  Math& math = work.math;
  const StageMemory memory{.slot = slot_of(call.op), .scratch = work.scratch};
  const std::span<float> stream_gradient =
      embedding_ ? embedding_gradient_.in(memory.slot) : as_floats(call.input_gradient);
  if (head_) {
    head_->backward_input(math, parameters_, memory.slot, stream_gradient);
  } else {
    math.copy(as_floats(call.output_gradient), stream_gradient);
  }
  for (const TransformerBlock& block : std::views::reverse(blocks_)) {
    block.backward_input(math, parameters_, memory, stream_gradient);
  }
}

void GptStage::backward_weight_on(const Work& work, const BackwardCall& call) {
  CHECK(call.gradient.size() == parameter_count());
  Math& math = work.math;
  const StageMemory memory{.slot = slot_of(call.op), .scratch = work.scratch};
  if (embedding_) {
    embedding_->backward_weight(math, tokens_in(inputs_, call.op.slot),
                                embedding_gradient_.in(memory.slot), call.gradient);
  }
  for (const TransformerBlock& block : blocks_) {
    block.backward_weight(math, parameters_, memory, call.gradient);
  }
  if (head_) {
    head_->backward_weight(math, parameters_, memory, call.gradient);
  }
}

void GptStage::forward(const StageOp& op, std::span<const std::byte> input,
                       std::span<std::byte> output) {
  forward_on(main_work(), {.op = op, .input = input, .output = output});
}

double GptStage::loss(int microbatch) const {
  CHECK(head_ && std::cmp_less(microbatch, losses().size()));
  return losses()[static_cast<std::size_t>(microbatch)];
}

void GptStage::backward_input(const StageOp& op, std::span<const std::byte> output_gradient,
                              std::span<std::byte> input_gradient) {
  backward_input_on(main_work(), {.op = op,
                                  .output_gradient = output_gradient,
                                  .input_gradient = input_gradient,
                                  .gradient = {}});
}

void GptStage::backward_weight(const StageOp& op, std::span<float> gradient) {
  backward_weight_on(main_work(),
                     {.op = op, .output_gradient = {}, .input_gradient = {}, .gradient = gradient});
}

// Neither half reads what the other writes: a stage's parameters do not change during a step, and
// slots, boundaries and scratch are different memory.
void GptStage::forward_overlapped(const ForwardCall& forward, Stage& other,
                                  const BackwardCall& backward) {
  GptStage* const behind = dynamic_cast<GptStage*>(&other);
  CHECK(behind != nullptr && &behind->math_ == &math_);
  if (math_.side() == nullptr) {
    Stage::forward_overlapped(forward, other, backward);
    return;
  }
  math_.fork();
  behind->backward_input_on(behind->side_work(), backward);
  behind->backward_weight_on(behind->side_work(), backward);
  forward_on(main_work(), forward);
  math_.join();
}

void GptStage::apply_gradient(std::span<const float> gradient) {
  optimizer_.apply(math_, gradient, parameters_);
}

std::vector<std::byte> GptStage::save() const {
  return save_state(math_.device(), parameters_, optimizer_);
}

void GptStage::restore(std::span<const std::byte> state) {
  restore_state(math_.device(), state, parameters_, optimizer_);
}

}  // namespace dualpipe
