// PlainRun: the same step without a pipeline - every stage in one place, every microbatch after the
// other. What a pipelined run must reproduce to the last bit.

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "runtime/gradient_sum.h"
#include "runtime/stage.h"

namespace dualpipe {

class PlainRun {
 public:
  // Makes all the stages. Throws Error (usage) when neighbours disagree about their boundary.
  PlainRun(const StageFactory& make_stage, int stages, int microbatches);

  // Computes every stage's gradient of the step.
  void run(std::uint64_t step);
  // Valid until the next run().
  [[nodiscard]] std::span<const float> gradient(int stage) const {
    return gradients_[static_cast<std::size_t>(stage)];
  }
  [[nodiscard]] double loss() const { return loss_; }  // of the last run, mean over microbatches

  // One optimizer step on every stage with these gradients.
  void apply_gradients();

 private:
  void run_microbatch(const StageOp& op);

  int microbatches_;
  std::vector<std::unique_ptr<Stage>> stages_;
  std::vector<GradientSum> sums_;                  // [stage]
  std::vector<std::span<const float>> gradients_;  // [stage]
  // [stage]: between stage - 1 and stage; of 64-byte aligned blocks, as stages may ask of buffers.
  struct alignas(64) Block {
    std::byte bytes[64];
  };
  std::vector<std::vector<Block>> activations_;
  std::vector<std::vector<Block>> input_gradients_;
  double loss_ = 0.0;
};

}  // namespace dualpipe
