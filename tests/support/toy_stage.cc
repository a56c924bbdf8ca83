#include "tests/support/toy_stage.h"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "runtime/stage.h"
#include "scheduler/pipeline.h"

namespace dualpipe {
namespace {

void require(bool condition, const char* what) {
  if (!condition) {
    throw std::logic_error(std::string("broken contract: ") + what);
  }
}

std::vector<float> floats_of(std::span<const std::byte> bytes, std::size_t expected) {
  require(bytes.size() == expected, "a buffer has another size than its boundary");
  require(reinterpret_cast<std::uintptr_t>(bytes.data()) % 64 == 0, "a buffer is not aligned");
  std::vector<float> floats(bytes.size() / sizeof(float));
  if (!floats.empty()) {
    std::memcpy(floats.data(), bytes.data(), bytes.size());
  }
  return floats;
}

void give(const std::vector<float>& floats, std::span<std::byte> bytes, std::size_t expected) {
  require(bytes.size() == expected, "a buffer has another size than its boundary");
  if (expected > 0) {
    std::memcpy(bytes.data(), floats.data(), bytes.size());
  }
}

std::vector<float> data_of(const StageOp& op) {
  std::vector<float> data;
  for (std::size_t i = 0; i < ToyStage::width; ++i) {
    const int number = 37 * static_cast<int>(op.step) + 11 * op.microbatch + static_cast<int>(i);
    const float mantissa = 1.0F + static_cast<float>(number % 89) / 97.0F;
    data.push_back(std::ldexp(number % 3 == 0 ? -mantissa : mantissa, op.microbatch * 5 % 13));
  }
  return data;
}

}  // namespace

ToyModel model_of(const Pipeline& pipeline) {
  return {.stages = pipeline.stages(), .microbatches = pipeline.microbatches(), .before = {}};
}

ToyStage::ToyStage(const ToyModel& model, int stage)
    : model_(model),
      stage_(stage),
      losses_(static_cast<std::size_t>(model.microbatches), std::nan("")) {
  for (std::size_t i = 0; i < width; ++i) {
    parameters_.push_back(0.4F + static_cast<float>(static_cast<std::size_t>(stage) + i) / 31.0F);
  }
}

std::size_t ToyStage::input_bytes() const {
  return stage_ == 0 ? 0 : width * sizeof(float);
}

std::size_t ToyStage::output_bytes() const {
  return stage_ == model_.stages - 1 ? 0 : width * sizeof(float);
}

void ToyStage::allocate(int activation_slots) {
  begin_other("allocate");
  require(slots_.empty(), "allocate() is called once");
  slots_.resize(static_cast<std::size_t>(activation_slots));
}

void ToyStage::begin(const std::string& call) const {
  if (model_.before) {
    model_.before(call);
  }
}

void ToyStage::begin_other(const std::string& call) const {
  if (model_.before_others) {
    model_.before_others(call);
  }
}

std::string ToyStage::name(char kind, const StageOp& op) const {
  return std::to_string(stage_) + kind + std::to_string(op.microbatch);
}

const ToyStage::Slot& ToyStage::occupied(const StageOp& op, Progress progress) const {
  const Slot& slot = slots_.at(static_cast<std::size_t>(op.slot));
  require(slot.progress == progress, "the slot is at another point of its life");
  require(slot.op.microbatch == op.microbatch && slot.op.step == op.step,
          "the slot belongs to another microbatch or step");
  return slot;
}

void ToyStage::forward(const StageOp& op, std::span<const std::byte> input,
                       std::span<std::byte> output) {
  begin(name('F', op));
  compute_forward(op, input, output);
}

void ToyStage::compute_forward(const StageOp& op, std::span<const std::byte> input,
                               std::span<std::byte> output) {
  Slot& slot = slots_.at(static_cast<std::size_t>(op.slot));
  require(slot.progress == Progress::empty, "the slot of a forward is free");
  slot.progress = Progress::forward_done;
  slot.op = op;
  slot.input = stage_ == 0 ? data_of(op) : floats_of(input, input_bytes());
  slot.output.assign(width, 0.0F);
  for (std::size_t i = 0; i < width; ++i) {
    slot.output[i] = slot.input[i] * parameters_[i] + 0.5F * slot.input[(i + 1) % width];
  }
  give(slot.output, output, output_bytes());
  double sum = 0.0;
  for (const float one : slot.output) {
    sum += 0.5 * static_cast<double>(one) * static_cast<double>(one);
  }
  losses_.at(static_cast<std::size_t>(op.microbatch)) = sum / model_.microbatches;
}

double ToyStage::loss(int microbatch) const {
  begin("loss of microbatch " + std::to_string(microbatch));
  require(stage_ == model_.stages - 1, "only the last stage has a loss");
  const double loss = losses_.at(static_cast<std::size_t>(microbatch));
  require(!std::isnan(loss), "a loss is asked for after its forward");
  return loss;
}

void ToyStage::backward_input(const StageOp& op, std::span<const std::byte> output_gradient,
                              std::span<std::byte> input_gradient) {
  begin(name('I', op));
  compute_input(op, output_gradient, input_gradient);
}

void ToyStage::compute_input(const StageOp& op, std::span<const std::byte> output_gradient,
                             std::span<std::byte> input_gradient) {
  static_cast<void>(occupied(op, Progress::forward_done));
  Slot& slot = slots_[static_cast<std::size_t>(op.slot)];
  slot.progress = Progress::input_done;
  slot.output_gradient = slot.output;
  if (stage_ < model_.stages - 1) {
    slot.output_gradient = floats_of(output_gradient, output_bytes());
  } else {
    for (float& one : slot.output_gradient) {
      one /= static_cast<float>(model_.microbatches);
    }
  }
  std::vector<float> gradient(width);
  for (std::size_t i = 0; i < width; ++i) {
    gradient[i] = parameters_[i] * slot.output_gradient[i] +
                  0.5F * slot.output_gradient[(i + width - 1) % width];
  }
  give(gradient, input_gradient, input_bytes());
}

void ToyStage::backward_weight(const StageOp& op, std::span<float> gradient) {
  begin(name('W', op));
  compute_weight(op, gradient);
}

void ToyStage::compute_weight(const StageOp& op, std::span<float> gradient) {
  static_cast<void>(occupied(op, Progress::input_done));
  Slot& slot = slots_[static_cast<std::size_t>(op.slot)];
  slot.progress = Progress::empty;
  require(gradient.size() == width, "the gradient has as many elements as there are parameters");
  for (std::size_t i = 0; i < width; ++i) {
    gradient[i] = slot.input[i] * slot.output_gradient[i];
  }
}

void ToyStage::backward(const BackwardCall& call) {
  begin(name('B', call.op));
  compute_input(call.op, call.output_gradient, call.input_gradient);
  compute_weight(call.op, call.gradient);
}

void ToyStage::forward_overlapped(const ForwardCall& forward, Stage& other,
                                  const BackwardCall& backward) {
  ToyStage& second = dynamic_cast<ToyStage&>(other);
  begin("(" + name('F', forward.op) + ";" + second.name('B', backward.op) + ")OVERLAP_F_B");
  compute_forward(forward.op, forward.input, forward.output);
  second.compute_input(backward.op, backward.output_gradient, backward.input_gradient);
  second.compute_weight(backward.op, backward.gradient);
}

void ToyStage::apply_gradient(std::span<const float> gradient) {
  begin("optimizer of stage " + std::to_string(stage_));
  require(gradient.size() == width, "the gradient has as many elements as there are parameters");
  for (std::size_t i = 0; i < width; ++i) {
    parameters_[i] -= 1e-3F * gradient[i] / (1.0F + std::fabs(gradient[i]));
  }
}

std::vector<std::byte> ToyStage::save() const {
  begin_other("save");
  const std::span<const std::byte> bytes = std::as_bytes(std::span(parameters_));
  return {bytes.begin(), bytes.end()};
}

void ToyStage::restore(std::span<const std::byte> state) {
  begin_other("restore");
  require(state.size() == parameters_.size() * sizeof(float), "a state comes back as it was saved");
  std::memcpy(parameters_.data(), state.data(), state.size());
}

StageFactory toy_factory(const ToyModel& model) {
  return [model](int stage) { return std::make_unique<ToyStage>(model, stage); };
}

}  // namespace dualpipe
