// Stages of a model driven by hand, in this process: what an executor does for them, without order,
// transport or schedule. A test decides which call comes when.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "runtime/models/float_layout.h"
#include "runtime/stage.h"
#include "tests/support/float_array.h"

namespace dualpipe {

class HandPipeline {
 public:
  HandPipeline(const StageFactory& make_stage, int stages, int slots) {
    for (int stage = 0; stage < stages; ++stage) {
      stages_.push_back(make_stage(stage));
      stages_.back()->allocate(slots);
    }
  }

  [[nodiscard]] Stage& stage(std::size_t index) { return *stages_[index]; }
  [[nodiscard]] std::size_t size() const { return stages_.size(); }

  // Each returns what the last of its calls wrote.
  double forward(const StageOp& op) {
    FloatArray input;
    for (const auto& stage : stages_) {
      FloatArray output(stage->output_bytes() / sizeof(float));
      stage->forward(op, std::as_bytes(input.values()), std::as_writable_bytes(output.values()));
      input = std::move(output);
    }
    return stages_.back()->loss(op.microbatch);
  }
  void backward_input(const StageOp& op) {
    FloatArray output_gradient;
    for (std::size_t stage = size(); stage-- > 0;) {
      FloatArray input_gradient(stages_[stage]->input_bytes() / sizeof(float));
      stages_[stage]->backward_input(op, std::as_bytes(output_gradient.values()),
                                     std::as_writable_bytes(input_gradient.values()));
      output_gradient = std::move(input_gradient);
    }
  }
  // The gradients of all stages, one after another. They start as NaN: a stage must overwrite all.
  std::vector<float> backward_weight(const StageOp& op) {
    std::vector<float> all;
    for (const auto& stage : stages_) {
      std::vector<float> gradient(stage->parameter_count(), NAN);
      stage->backward_weight(op, gradient);
      all.insert(all.end(), gradient.begin(), gradient.end());
    }
    return all;
  }

  struct Result {
    double loss = 0.0;
    std::vector<float> gradient;
  };
  Result run(const StageOp& op) {
    const double loss = forward(op);
    backward_input(op);
    return {.loss = loss, .gradient = backward_weight(op)};
  }

  // A whole step in slot 0, with the optimizer. Returns the loss.
  double train(std::uint64_t step, int microbatches) {
    double loss = 0.0;
    std::vector<float> sum;
    for (int microbatch = 0; microbatch < microbatches; ++microbatch) {
      const Result result = run({.step = step, .microbatch = microbatch, .slot = 0});
      loss += result.loss;
      sum.resize(result.gradient.size());
      std::ranges::transform(sum, result.gradient, sum.begin(), std::plus());
    }
    std::size_t offset = 0;
    for (const auto& stage : stages_) {
      stage->apply_gradient(std::span(sum).subspan(offset, stage->parameter_count()));
      offset += stage->parameter_count();
    }
    return loss;
  }

 private:
  std::vector<std::unique_ptr<Stage>> stages_;
};

// Whether two gradients are the same bits; NaN equals itself, and 0 is not -0.
inline bool same_bits(std::span<const float> left, std::span<const float> right) {
  return left.size() == right.size() &&
         std::memcmp(left.data(), right.data(), left.size_bytes()) == 0;
}

}  // namespace dualpipe
