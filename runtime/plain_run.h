// PlainRun: the same step without a pipeline - every stage in one place, every microbatch after the
// other. What a pipelined run must reproduce to the last bit.

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/device.h"
#include "runtime/gradient_sum.h"
#include "runtime/stage.h"

namespace dualpipe {

class PlainRun {
 public:
  // Makes all the stages, on the device, which must outlive this object. Throws Error (usage) when
  // neighbours disagree about their boundary; and when a stage cannot be made or allocated, as
  // make_held_stages().
  PlainRun(Device& device, const StageFactory& make_stage, int stages, int microbatches);

  // Asks for every stage's gradient of the step. This, loss() and apply_gradients() throw Error
  // (callback) naming the op when a stage throws.
  void run(std::uint64_t step);
  // Memory of the device, valid until the next run().
  [[nodiscard]] std::span<const float> gradient(int stage) const {
    return gradients_[static_cast<std::size_t>(stage)];
  }
  // Of the last run, mean over microbatches. Requires: the device has done all that run() asked
  // for.
  [[nodiscard]] double loss() const;

  // Gives a stage what its save() gave. Throws an Error that names the stage.
  void restore(int stage, std::span<const std::byte> state);

  // One optimizer step on every stage with these gradients.
  void apply_gradients();

 private:
  void run_microbatch(const StageOp& op);
  [[nodiscard]] std::string name(std::string_view call) const;

  int microbatches_;
  std::uint64_t step_ = 0;
  std::vector<std::unique_ptr<Stage>> stages_;
  std::vector<GradientSum> sums_;                  // [stage]
  std::vector<std::span<const float>> gradients_;  // [stage]
  std::vector<DeviceMemory> activations_;          // [stage]: between stage - 1 and stage
  std::vector<DeviceMemory> input_gradients_;      // [stage]: likewise
};

}  // namespace dualpipe
