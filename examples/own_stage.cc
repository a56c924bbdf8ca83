// A stage of one's own: y = a * x per stage, one parameter each, trained by gradient descent
// with DualPipe on four threads. Build it against the installed package:
//
//   find_package(dualpipe REQUIRED COMPONENTS runtime)
//   target_link_libraries(own_stage PRIVATE dualpipe::runtime)

#include <algorithm>
#include <cstdio>
#include <memory>
#include <span>
#include <vector>

#include "runtime/inproc_transport.h"
#include "runtime/stage.h"
#include "runtime/train_on_threads.h"
#include "scheduler/compile.h"
#include "scheduler/generate.h"

using namespace dualpipe;
using Bytes = std::span<std::byte>;
using ConstBytes = std::span<const std::byte>;
constexpr int stages = 4, microbatches = 8;

float number(ConstBytes bytes) {
  return *reinterpret_cast<const float*>(bytes.data());
}
void put(float x, Bytes bytes) {  // nothing where there is no neighbour
  std::ranges::copy(std::as_bytes(std::span(&x, 1)).first(bytes.size()), bytes.begin());
}

class Linear final : public Stage {
 public:
  explicit Linear(int stage) : stage_(stage), loss_(microbatches) {}
  std::size_t input_bytes() const override { return stage_ == 0 ? 0 : sizeof(float); }
  std::size_t output_bytes() const override { return stage_ == stages - 1 ? 0 : sizeof(float); }
  std::size_t parameter_count() const override { return 1; }
  std::int64_t activation_bytes() const override { return sizeof(Slot); }
  void allocate(int slots) override { slots_.resize(slots); }

  void forward(const StageOp& op, ConstBytes input, Bytes output) override {
    const float data = static_cast<float>(op.microbatch) / microbatches;
    Slot& slot = slots_[op.slot];
    slot.x = input.empty() ? data : number(input);
    put(a_ * slot.x, output);
    const float error = a_ * slot.x - 6.0F * data;  // all parameters' product is to be 6
    slot.slope = 2.0F * error / microbatches;       // of the loss, where this is the last stage
    loss_[op.microbatch] = error * error / microbatches;
  }
  double loss(int microbatch) const override { return loss_[microbatch]; }
  void backward_input(const StageOp& op, ConstBytes gradient, Bytes input_gradient) override {
    float& slope = slots_[op.slot].slope;
    slope = gradient.empty() ? slope : number(gradient);
    put(a_ * slope, input_gradient);
  }
  void backward_weight(const StageOp& op, std::span<float> gradient) override {
    gradient[0] = slots_[op.slot].slope * slots_[op.slot].x;
  }
  void apply_gradient(std::span<const float> gradient) override { a_ -= 0.02F * gradient[0]; }

 private:
  struct Slot {
    float x, slope;
  };
  int stage_;
  float a_ = 1.0F;
  std::vector<Slot> slots_;
  std::vector<double> loss_;
};

int main() {
  const Program program = compile_or_throw(
      generate(find_family("dualpipe"), {.ranks = stages, .microbatches = microbatches}));
  TrainOptions options;
  options.steps = 200;
  options.verify = true;  // against the same steps without a pipeline
  const auto make_stage = [](int stage) { return std::make_unique<Linear>(stage); };
  const auto report = train_on_threads(make_inproc_transports(stages), [&](Transport& rank) {
    return train(program, rank, make_stage, options);
  });
  const double loss = report.loss.back(), difference = *report.max_gradient_difference;
  std::printf("loss %.6f, gradients off by %g from a plain run's\n", loss, difference);
  return difference == 0.0 && loss < 1e-3 ? 0 : 1;
}
