#include "runtime/plain_run.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "costs/error.h"
#include "runtime/device.h"
#include "runtime/stage.h"

namespace dualpipe {

PlainRun::PlainRun(Device& device, const StageFactory& make_stage, int stages, int microbatches)
    : microbatches_(microbatches) {
  std::vector<int> in_order(static_cast<std::size_t>(microbatches));
  std::iota(in_order.begin(), in_order.end(), 0);
  std::size_t boundary = 0;
  for (int stage = 0; stage < stages; ++stage) {
    std::unique_ptr<Stage> object = make_stage(stage);
    if (object->input_bytes() != boundary) {
      throw Error(ExitCode::usage, fmt::format("stage {} gives {} bytes, but stage {} takes {}",
                                               stage - 1, boundary, stage, object->input_bytes()));
    }
    object->allocate(1);
    sums_.emplace_back(device, object->parameter_count(), in_order, microbatches);
    activations_.emplace_back(device, boundary);
    input_gradients_.emplace_back(device, boundary);
    boundary = object->output_bytes();
    stages_.push_back(std::move(object));
  }
  activations_.emplace_back();
  input_gradients_.emplace_back();
  gradients_.resize(stages_.size());
}

void PlainRun::run(std::uint64_t step) {
  for (int microbatch = 0; microbatch < microbatches_; ++microbatch) {
    run_microbatch({.step = step, .microbatch = microbatch, .slot = 0});
  }
  for (std::size_t stage = 0; stage < stages_.size(); ++stage) {
    gradients_[stage] = sums_[stage].finish();
  }
}

void PlainRun::run_microbatch(const StageOp& op) {
  for (std::size_t stage = 0; stage < stages_.size(); ++stage) {
    Stage& object = *stages_[stage];
    object.forward(op, activations_[stage].bytes(), activations_[stage + 1].bytes());
  }
  for (std::size_t stage = stages_.size(); stage-- > 0;) {
    Stage& object = *stages_[stage];
    object.backward_input(op, input_gradients_[stage + 1].bytes(), input_gradients_[stage].bytes());
    object.backward_weight(op, sums_[stage].next());
    sums_[stage].add(op.microbatch);
  }
}

double PlainRun::loss() const {
  double sum = 0.0;
  for (int microbatch = 0; microbatch < microbatches_; ++microbatch) {
    sum += stages_.back()->loss(microbatch);
  }
  return sum;
}

void PlainRun::restore(int stage, std::span<const std::byte> state) {
  stages_[static_cast<std::size_t>(stage)]->restore(state);
}

void PlainRun::apply_gradients() {
  for (std::size_t stage = 0; stage < stages_.size(); ++stage) {
    stages_[stage]->apply_gradient(gradients_[stage]);
  }
}

}  // namespace dualpipe
