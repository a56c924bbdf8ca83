// One stage of the model `mlp`: a run of linear layers, each but the last of all followed by GELU.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "runtime/device.h"
#include "runtime/models/adamw.h"
#include "runtime/models/float_layout.h"
#include "runtime/models/linear.h"
#include "runtime/models/math.h"
#include "runtime/models/parameters.h"
#include "runtime/models/teacher.h"
#include "runtime/stage.h"

namespace dualpipe {

// The options once they are known to fit; no field has a default.
struct MlpConfig {
  int stages = 0;
  int layers = 0;
  int microbatches = 0;
  std::uint64_t seed = 0;
  std::size_t samples = 0;
  std::size_t width = 0;
  AdamWOptions optimizer;
};

class MlpStage final : public Stage {
 public:
  // The Math must outlive the stage.
  MlpStage(const MlpConfig& config, int stage, Math& math);

  [[nodiscard]] std::size_t input_bytes() const override;
  [[nodiscard]] std::size_t output_bytes() const override;
  [[nodiscard]] std::size_t parameter_count() const override;
  [[nodiscard]] std::int64_t activation_bytes() const override;

  void allocate(int activation_slots) override;

  void forward(const StageOp& op, std::span<const std::byte> input,
               std::span<std::byte> output) override;
  [[nodiscard]] double loss(int microbatch) const override;
  void backward_input(const StageOp& op, std::span<const std::byte> output_gradient,
                      std::span<std::byte> input_gradient) override;
  void backward_weight(const StageOp& op, std::span<float> gradient) override;
  void apply_gradient(std::span<const float> gradient) override;
  [[nodiscard]] std::vector<std::byte> save() const override;
  void restore(std::span<const std::byte> state) override;

  [[nodiscard]] const Parameters& parameters() const { return parameters_; }
  [[nodiscard]] Parameters& parameters() { return parameters_; }

 private:
  struct Layer {
    Linear linear;
    FloatRange input;   // in the slot
    FloatRange slopes;  // in the slot: GELU's, then the gradient of the linear layer's output
  };

  [[nodiscard]] bool is_first() const { return stage_ == 0; }
  [[nodiscard]] bool is_last() const { return stage_ == config_.stages - 1; }
  [[nodiscard]] std::size_t boundary_size() const { return config_.samples * config_.width; }
  [[nodiscard]] std::span<float> slot_of(const StageOp& op);
  // Part `number` of host memory for several microbatches' samples.
  [[nodiscard]] std::span<float> samples_in(const DeviceMemory& memory, int number) const;
  [[nodiscard]] std::span<double> losses() const;
  void try_out();
  // In: the predictions. Out: the loss's gradient in their place.
  void take_loss(const StageOp& op, std::span<float> predictions);

  MlpConfig config_;
  int stage_;
  Math& math_;
  Teacher teacher_;
  Parameters parameters_;
  FloatLayout slot_layout_;
  std::vector<Layer> layers_;
  AdamW optimizer_;

  std::vector<DeviceMemory> slots_;
  DeviceMemory gradient_;  // scratch
  DeviceMemory targets_;   // last stage: of the microbatch at its loss
  // In the host's memory. The host may be many microbatches ahead of the queue, so each has a
  // place.
  DeviceMemory host_inputs_;   // of [microbatch], first and last stage
  DeviceMemory host_targets_;  // of [microbatch], last stage
  DeviceMemory losses_;        // double of [microbatch], last stage
};

}  // namespace dualpipe
