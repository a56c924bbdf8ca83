#include "runtime/plain_run.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <numeric>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "costs/error.h"
#include "runtime/device.h"
#include "runtime/stage.h"
#include "runtime/trainer_call.h"
#include "scheduler/op.h"

namespace dualpipe {

PlainRun::PlainRun(Device& device, const StageFactory& make_stage, int stages, int microbatches)
    : microbatches_(microbatches) {
  std::vector<int> in_order(static_cast<std::size_t>(microbatches));
  std::iota(in_order.begin(), in_order.end(), 0);
  std::size_t boundary = 0;
  for (int stage = 0; stage < stages; ++stage) {
    std::unique_ptr<Stage> object = call_between_steps(
        [&] { return fmt::format("making stage {}, without a pipeline", stage); },
        [&] { return make_stage(stage); });
    if (object->input_bytes() != boundary) {
      throw Error(ExitCode::usage, fmt::format("stage {} gives {} bytes, but stage {} takes {}",
                                               stage - 1, boundary, stage, object->input_bytes()));
    }
    call_between_steps(
        [&] { return fmt::format("allocate() of stage {}, without a pipeline", stage); },
        [&] { object->allocate(1); });
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
  step_ = step;
  for (int microbatch = 0; microbatch < microbatches_; ++microbatch) {
    run_microbatch({.step = step, .microbatch = microbatch, .slot = 0});
  }
  for (std::size_t stage = 0; stage < stages_.size(); ++stage) {
    gradients_[stage] = sums_[stage].finish();
  }
}

void PlainRun::run_microbatch(const StageOp& op) {
  const auto call = [&](std::size_t stage, OpKind kind, const auto& body) {
    call_in_step(
        [&] {
          return name(to_string(
              Op{.stage = static_cast<int>(stage), .kind = kind, .microbatch = op.microbatch}));
        },
        body);
  };
  for (std::size_t stage = 0; stage < stages_.size(); ++stage) {
    call(stage, OpKind::forward, [&] {
      stages_[stage]->forward(op, activations_[stage].bytes(), activations_[stage + 1].bytes());
    });
  }
  for (std::size_t stage = stages_.size(); stage-- > 0;) {
    call(stage, OpKind::backward_input, [&] {
      stages_[stage]->backward_input(op, input_gradients_[stage + 1].bytes(),
                                     input_gradients_[stage].bytes());
    });
    call(stage, OpKind::backward_weight,
         [&] { stages_[stage]->backward_weight(op, sums_[stage].next()); });
    sums_[stage].add(op.microbatch);
  }
}

std::string PlainRun::name(std::string_view call) const {
  return fmt::format("step {}, without a pipeline: {}", step_, call);
}

double PlainRun::loss() const {
  double sum = 0.0;
  for (int microbatch = 0; microbatch < microbatches_; ++microbatch) {
    sum += call_in_step([&] { return name(fmt::format("loss() of microbatch {}", microbatch)); },
                        [&] { return stages_.back()->loss(microbatch); });
  }
  return sum;
}

void PlainRun::restore(int stage, std::span<const std::byte> state) {
  Stage& object = *stages_[static_cast<std::size_t>(stage)];
  call_between_steps(
      [&] { return fmt::format("restore() of stage {}, without a pipeline", stage); },
      [&] { object.restore(state); });
}

void PlainRun::apply_gradients() {
  for (std::size_t stage = 0; stage < stages_.size(); ++stage) {
    call_in_step([&] { return name(fmt::format("the optimizer of stage {}", stage)); },
                 [&] { stages_[stage]->apply_gradient(gradients_[stage]); });
  }
}

}  // namespace dualpipe
