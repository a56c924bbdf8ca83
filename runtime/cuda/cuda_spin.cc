#include "runtime/cuda/cuda_spin.h"

#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include <vector_types.h>

#include "costs/check.h"
#include "costs/cost_model.h"
#include "runtime/cuda/cuda_device.h"
#include "runtime/cuda/kernel_launch.h"
#include "runtime/cuda/kernels.h"
#include "runtime/cuda/spin_call.h"
#include "runtime/device.h"
#include "runtime/models/model.h"
#include "runtime/models/spin.h"
#include "runtime/models/spin_message.h"
#include "runtime/stage.h"

namespace dualpipe {
namespace {

class CudaSpinStage final : public Stage {
 public:
  CudaSpinStage(CudaDevice& device, const CostModel& costs, int stage)
      : device_(device),
        costs_(costs.stages.at(static_cast<std::size_t>(stage))),
        stage_(stage),
        is_last_(static_cast<std::size_t>(stage) + 1 == costs.stages.size()) {}

  [[nodiscard]] std::size_t input_bytes() const override {
    return stage_ == 0 ? 0 : sizeof(SpinMessage);
  }
  [[nodiscard]] std::size_t output_bytes() const override {
    return is_last_ ? 0 : sizeof(SpinMessage);
  }
  [[nodiscard]] std::size_t parameter_count() const override { return 0; }
  [[nodiscard]] std::int64_t activation_bytes() const override { return costs_.bytes.activation; }

  void allocate(int /*activation_slots*/) override {
    wrong_ = DeviceMemory(device_, sizeof(WrongSpin), MemoryHome::host);
  }

  void forward(const StageOp& op, std::span<const std::byte> input,
               std::span<std::byte> output) override {
    pass_forward(op, input, output, costs_.forward);
  }
  [[nodiscard]] double loss(int /*microbatch*/) const override {
    check_messages();
    return 0.0;
  }
  void backward_input(const StageOp& op, std::span<const std::byte> output_gradient,
                      std::span<std::byte> input_gradient) override {
    pass_backward(op, output_gradient, input_gradient, costs_.backward_input);
  }
  void backward_weight(const StageOp& /*op*/, std::span<float> gradient) override {
    CHECK(gradient.empty());
    launch(nullptr, nullptr, {}, costs_.backward_weight);
  }
  void apply_gradient(std::span<const float> gradient) override {
    CHECK(gradient.empty());
    check_messages();
  }

  void backward(const BackwardCall& call) override {
    pass_backward(call.op, call.output_gradient, call.input_gradient, costs_.backward());
  }
  void forward_overlapped(const ForwardCall& forward_call, Stage& other,
                          const BackwardCall& backward_call) override {
    CudaSpinStage* const backward_stage = dynamic_cast<CudaSpinStage*>(&other);
    CHECK(backward_stage != nullptr);
    pass_forward(forward_call.op, forward_call.input, forward_call.output,
                 overlapped_time(costs_, backward_stage->costs_));
    backward_stage->pass_backward(backward_call.op, backward_call.output_gradient,
                                  backward_call.input_gradient, Time(0));
  }

 private:
  struct Messages {
    SpinMessage expected;
    SpinMessage written;
  };

  void pass_forward(const StageOp& op, std::span<const std::byte> input,
                    std::span<std::byte> output, Time time) {
    CHECK(input.size() == input_bytes() && output.size() == output_bytes());
    launch(input.data(), output.data(),
           {.expected = spin_message(false, stage_ - 1, op),
            .written = spin_message(false, stage_, op)},
           time);
  }
  void pass_backward(const StageOp& op, std::span<const std::byte> output_gradient,
                     std::span<std::byte> input_gradient, Time time) {
    CHECK(output_gradient.size() == output_bytes() && input_gradient.size() == input_bytes());
    launch(
        output_gradient.data(), input_gradient.data(),
        {.expected = spin_message(true, stage_ + 1, op), .written = spin_message(true, stage_, op)},
        time);
  }

  // Boundaries without messages have empty buffers, which begin nowhere.
  void launch(const std::byte* input, std::byte* output, const Messages& messages, Time time) {
    device_.make_current();
    device_.note_asked(1);
    dualpipe::launch({.stream = device_.stream(), .grid = dim3(1), .threads = 1}, dualpipe_spin,
                     reinterpret_cast<const SpinWords*>(input),
                     reinterpret_cast<SpinWords*>(output),
                     {.expected = std::bit_cast<SpinWords>(messages.expected),
                      .written = std::bit_cast<SpinWords>(messages.written),
                      .nanoseconds = static_cast<unsigned long long>(time.count())},
                     reinterpret_cast<WrongSpin*>(wrong_.bytes().data()));
  }

  // Requires: the GPU has done what it was asked for.
  void check_messages() const {
    const auto* const wrong = reinterpret_cast<const WrongSpin*>(wrong_.bytes().data());
    if (wrong->count != 0) {
      require_same(std::bit_cast<SpinMessage>(wrong->expected),
                   std::bit_cast<SpinMessage>(wrong->found));
    }
  }

  CudaDevice& device_;
  StageCosts costs_;
  int stage_;
  bool is_last_;
  DeviceMemory wrong_;
};

}  // namespace

StageFactory make_cuda_spin(const ModelOptions& options, CudaDevice& device) {
  check_spin_options(options);
  return [costs = options.costs, &device](int stage) {
    return std::make_unique<CudaSpinStage>(device, costs, stage);
  };
}

}  // namespace dualpipe
