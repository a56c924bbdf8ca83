#include "runtime/models/mlp_stage.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <ranges>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "costs/check.h"
#include "runtime/device.h"
#include "runtime/models/float_layout.h"
#include "runtime/models/linear.h"
#include "runtime/models/math.h"
#include "runtime/models/model_sizes.h"
#include "runtime/models/stage_state.h"
#include "runtime/models/trial_call.h"
#include "runtime/stage.h"

namespace dualpipe {

// He et al. (2015): a unit that passes half of its input keeps the variance at 2 / inputs.
MlpStage::MlpStage(const MlpConfig& config, int stage, Math& math)
    : config_(config),
      stage_(stage),
      math_(math),
      teacher_(config.seed, config.width),
      parameters_(config.seed),
      optimizer_(config.optimizer) {
  const LinearShape shape{.rows = config.samples, .inputs = config.width, .outputs = config.width};
  const double deviation = std::sqrt(2.0 / static_cast<double>(config.width));
  const LayerRange range =
      layers_of_stage({.layers = config.layers, .stages = config.stages}, stage);
  for (int layer = range.first; layer < range.first + range.count; ++layer) {
    layers_.push_back(
        {.linear = Linear(shape, "layer." + std::to_string(layer), deviation, parameters_),
         .input = slot_layout_.add(boundary_size()),
         .slopes = slot_layout_.add(boundary_size())});
  }
}

std::size_t MlpStage::input_bytes() const {
  return is_first() ? 0 : boundary_size() * sizeof(float);
}

std::size_t MlpStage::output_bytes() const {
  return is_last() ? 0 : boundary_size() * sizeof(float);
}

std::size_t MlpStage::parameter_count() const {
  return parameters_.values().size();
}

std::int64_t MlpStage::activation_bytes() const {
  return static_cast<std::int64_t>(slot_layout_.size() * sizeof(float));
}

void MlpStage::allocate(int activation_slots) {
  CHECK(slots_.empty() && activation_slots > 0);
  Device& device = math_.device();
  const std::size_t boundary_bytes = boundary_size() * sizeof(float);
  const std::size_t microbatches = static_cast<std::size_t>(config_.microbatches);
  parameters_.move_to(device);
  optimizer_.allocate(device, parameter_count());
  math_.reserve(config_.width * std::max(config_.samples, config_.width));
  for (int slot = 0; slot < activation_slots; ++slot) {
    slots_.emplace_back(device, slot_layout_.size() * sizeof(float));
  }
  gradient_ = DeviceMemory(device, boundary_bytes);
  if (is_first() || is_last()) {
    host_inputs_ = DeviceMemory(device, microbatches * boundary_bytes, MemoryHome::host);
  }
  if (is_last()) {
    targets_ = DeviceMemory(device, boundary_bytes);
    host_targets_ = DeviceMemory(device, microbatches * boundary_bytes, MemoryHome::host);
    losses_ = DeviceMemory(device, microbatches * sizeof(double), MemoryHome::host);
  }
  if (TrialCall::is_wanted(device)) {
    try_out();
  }
}

void MlpStage::try_out() {
  const TrialCall trial(*this, math_.device());
  const ForwardCall call = trial.forward();
  forward(call.op, call.input, call.output);
  backward(trial.backward());
  trial.finish();
}

std::span<float> MlpStage::slot_of(const StageOp& op) {
  const std::size_t slot = static_cast<std::size_t>(op.slot);
  CHECK(slot < slots_.size());
  return slots_[slot].floats();
}

std::span<float> MlpStage::samples_in(const DeviceMemory& memory, int number) const {
  return memory.floats().subspan(static_cast<std::size_t>(number) * boundary_size(),
                                 boundary_size());
}

std::span<double> MlpStage::losses() const {
  const std::span<std::byte> bytes = losses_.bytes();
  return {reinterpret_cast<double*>(bytes.data()), bytes.size() / sizeof(double)};
}

void MlpStage::take_loss(const StageOp& op, std::span<float> predictions) {
  const std::span<float> inputs = samples_in(host_inputs_, op.microbatch);
  const std::span<float> targets = samples_in(host_targets_, op.microbatch);
  teacher_.read_inputs(op, inputs);
  teacher_.write_targets(inputs, targets);
  math_.copy(targets, targets_.floats());
  const double weight = 1.0 / (static_cast<double>(boundary_size()) * config_.microbatches);
  math_.squared_error(targets_.floats(), weight, predictions,
                      {.rows = gradient_.floats().first(config_.samples),
                       .total = &losses()[static_cast<std::size_t>(op.microbatch)]});
}

// A layer's output is the next one's input, stored once; the stage's is the next stage's.
void MlpStage::forward(const StageOp& op, std::span<const std::byte> input,
                       std::span<std::byte> output) {
  CHECK(input.size() == input_bytes() && output.size() == output_bytes());
  const std::span<float> slot = slot_of(op);
  if (is_first()) {
    const std::span<float> inputs = samples_in(host_inputs_, op.microbatch);
    teacher_.read_inputs(op, inputs);
    math_.copy(inputs, layers_.front().input.in(slot));
  } else {
    math_.copy(as_floats(input), layers_.front().input.in(slot));
  }
  for (std::size_t layer = 0; layer < layers_.size(); ++layer) {
    const bool ends_stage = layer + 1 == layers_.size();
    const std::span<float> slopes = layers_[layer].slopes.in(slot);
    layers_[layer].linear.forward(math_, parameters_, layers_[layer].input.in(slot), slopes);
    if (!ends_stage) {
      math_.gelu(slopes, layers_[layer + 1].input.in(slot));
    } else if (is_last()) {
      take_loss(op, slopes);
    } else {
      math_.gelu(slopes, as_floats(output));
    }
  }
}

double MlpStage::loss(int microbatch) const {
  CHECK(is_last() && std::cmp_less(microbatch, losses().size()));
  return losses()[static_cast<std::size_t>(microbatch)];
}

void MlpStage::backward_input(const StageOp& op, std::span<const std::byte> output_gradient,
                              std::span<std::byte> input_gradient) {
  CHECK(output_gradient.size() == output_bytes() && input_gradient.size() == input_bytes());
  const std::span<float> slot = slot_of(op);
  std::span<const float> gradient = as_floats(output_gradient);
  for (const Layer& layer : std::views::reverse(layers_)) {
    // The last layer of all has the gradient in place since its loss.
    const std::span<float> slopes = layer.slopes.in(slot);
    if (!gradient.empty()) {
      math_.multiply_elements(gradient, slopes);
    }
    const bool begins_stage = &layer == &layers_.front();
    if (begins_stage && is_first()) {
      return;
    }
    const std::span<float> to = begins_stage ? as_floats(input_gradient) : gradient_.floats();
    layer.linear.backward_input(math_, parameters_, slopes, to);
    gradient = to;
  }
}

void MlpStage::backward_weight(const StageOp& op, std::span<float> gradient) {
  CHECK(gradient.size() == parameter_count());
  const std::span<float> slot = slot_of(op);
  for (const Layer& layer : layers_) {
    layer.linear.backward_weight(
        math_, {.input = layer.input.in(slot), .output_gradient = layer.slopes.in(slot)}, gradient);
  }
}

void MlpStage::apply_gradient(std::span<const float> gradient) {
  optimizer_.apply(math_, gradient, parameters_);
}

std::vector<std::byte> MlpStage::save() const {
  return save_state(math_.device(), parameters_, optimizer_);
}

void MlpStage::restore(std::span<const std::byte> state) {
  restore_state(math_.device(), state, parameters_, optimizer_);
}

}  // namespace dualpipe
