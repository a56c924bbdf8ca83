// A stage of one's own: y = a * x + b per stage, trained by gradient descent with DualPipe on four
// threads. Build it against the installed package:
//
//   find_package(dualpipe REQUIRED COMPONENTS runtime)
//   target_link_libraries(own_stage PRIVATE dualpipe::runtime)

#include <array>
#include <cstdio>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "runtime/inproc_transport.h"
#include "runtime/stage.h"
#include "runtime/train_on_threads.h"
#include "scheduler/compile.h"
#include "scheduler/generate.h"

using Bytes = std::span<std::byte>;
using ConstBytes = std::span<const std::byte>;
constexpr int stages = 4, microbatches = 8;

float number(ConstBytes bytes) {
  float x;
  std::memcpy(&x, bytes.data(), sizeof x);
  return x;
}
void put(float x, Bytes bytes) {
  if (!bytes.empty())
    std::memcpy(bytes.data(), &x, sizeof x);
}

class Affine final : public dualpipe::Stage {
 public:
  explicit Affine(int stage) : stage_(stage), loss_(microbatches) {}
  std::size_t input_bytes() const override { return stage_ == 0 ? 0 : sizeof(float); }
  std::size_t output_bytes() const override { return stage_ == stages - 1 ? 0 : sizeof(float); }
  std::size_t parameter_count() const override { return 2; }
  std::int64_t activation_bytes() const override { return sizeof(Slot); }
  void allocate(int slots) override { slots_.resize(slots); }

  void forward(const dualpipe::StageOp& op, ConstBytes input, Bytes output) override {
    Slot& slot = slots_[op.slot];
    slot.x = stage_ == 0 ? static_cast<float>(op.microbatch) / microbatches : number(input);
    const float y = a_ * slot.x + b_;
    put(y, output);
    const float target = 3.0F * static_cast<float>(op.microbatch) / microbatches - 1.0F;
    slot.slope = 2.0F * (y - target) / microbatches;  // of the loss, where this is the last stage
    loss_[op.microbatch] = (y - target) * (y - target) / microbatches;
  }
  double loss(int microbatch) const override { return loss_[microbatch]; }
  void backward_input(const dualpipe::StageOp& op, ConstBytes output_gradient,
                      Bytes input_gradient) override {
    Slot& slot = slots_[op.slot];
    if (!output_gradient.empty())
      slot.slope = number(output_gradient);
    put(a_ * slot.slope, input_gradient);
  }
  void backward_weight(const dualpipe::StageOp& op, std::span<float> gradient) override {
    gradient[0] = slots_[op.slot].slope * slots_[op.slot].x;
    gradient[1] = slots_[op.slot].slope;
  }
  void apply_gradient(std::span<const float> gradient) override {
    a_ -= 0.1F * gradient[0];
    b_ -= 0.1F * gradient[1];
  }

 private:
  struct Slot {
    float x = 0.0F, slope = 0.0F;
  };
  int stage_;
  float a_ = 1.0F, b_ = 0.0F;
  std::vector<Slot> slots_;
  std::vector<double> loss_;
};

int main() {
  const auto schedule = dualpipe::generate(dualpipe::find_family("dualpipe"),
                                           {.ranks = stages, .microbatches = microbatches});
  const auto program =
      dualpipe::program_or_throw(dualpipe::compile_with_least_buffers(schedule), "dualpipe");
  dualpipe::TrainOptions options;
  options.steps = 200;
  options.verify = true;  // against the same steps without a pipeline
  const auto make_stage = [](int stage) { return std::make_unique<Affine>(stage); };
  const auto report = dualpipe::train_on_threads(
      dualpipe::make_inproc_transports(stages), [&](dualpipe::Transport& rank) {
        return dualpipe::train(program, rank, make_stage, options);
      });
  std::printf("loss %.4f -> %.4f, gradients %s\n", report.loss.front(), report.loss.back(),
              *report.max_gradient_difference == 0.0 ? "bitwise equal to a plain run's" : "differ");
  return report.loss.back() < 1e-3 && *report.max_gradient_difference == 0.0 ? 0 : 1;
}
