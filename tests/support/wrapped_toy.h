// A stage that does all that a toy stage does, for tests to change one thing about. A full backward
// comes to it as its two halves.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "runtime/stage.h"
#include "tests/support/toy_stage.h"

namespace dualpipe {

class WrappedToy : public Stage {
 public:
  WrappedToy(const ToyModel& model, int stage) : toy_(model, stage) {}

  [[nodiscard]] std::size_t input_bytes() const override { return toy_.input_bytes(); }
  [[nodiscard]] std::size_t output_bytes() const override { return toy_.output_bytes(); }
  [[nodiscard]] std::size_t parameter_count() const override { return toy_.parameter_count(); }
  [[nodiscard]] std::int64_t activation_bytes() const override { return toy_.activation_bytes(); }
  void allocate(int activation_slots) override { toy_.allocate(activation_slots); }
  void forward(const StageOp& op, std::span<const std::byte> input,
               std::span<std::byte> output) override {
    toy_.forward(op, input, output);
  }
  [[nodiscard]] double loss(int microbatch) const override { return toy_.loss(microbatch); }
  void backward_input(const StageOp& op, std::span<const std::byte> output_gradient,
                      std::span<std::byte> input_gradient) override {
    toy_.backward_input(op, output_gradient, input_gradient);
  }
  void backward_weight(const StageOp& op, std::span<float> gradient) override {
    toy_.backward_weight(op, gradient);
  }
  void apply_gradient(std::span<const float> gradient) override { toy_.apply_gradient(gradient); }

 protected:
  [[nodiscard]] const ToyStage& toy() const { return toy_; }

 private:
  ToyStage toy_;
};

}  // namespace dualpipe
