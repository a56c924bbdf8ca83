#include "runtime/cuda/cuda_spin.h"

#include <chrono>
#include <memory>
#include <span>
#include <stdexcept>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/cost_model.h"
#include "runtime/cuda/cuda_device.h"
#include "runtime/device.h"
#include "runtime/models/model.h"
#include "runtime/stage.h"
#include "tests/support/needs_gpu.h"

namespace dualpipe {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

class CudaSpin : public NeedsGpu {};

ModelOptions two_stages() {
  ModelOptions options;
  options.stages = 2;
  options.microbatches = 2;
  for (int stage = 0; stage < 2; ++stage) {
    options.costs.stages.push_back({.forward = milliseconds(3),
                                    .backward_input = milliseconds(5),
                                    .backward_weight = milliseconds(4)});
  }
  return options;
}

// Both stages on one GPU, and what passes between them.
struct Pipeline {
  Pipeline() {
    device.reserve_marks(3);
    first->allocate(1);
    last->allocate(1);
    finish();
  }
  void finish() { ASSERT_TRUE(device.finish(Clock::now() + std::chrono::seconds(20))); }

  CudaDevice device{0};
  StageFactory make = make_cuda_spin(two_stages(), device);
  std::unique_ptr<Stage> first = make(0);
  std::unique_ptr<Stage> last = make(1);
  DeviceMemory activation{device, first->output_bytes()};
  DeviceMemory gradient{device, last->input_bytes()};
};

TEST_F(CudaSpin, CallsTakeTheModelledTimesAndPassMessages) {
  Pipeline pipeline;
  Stage* const first = pipeline.first.get();
  Stage* const last = pipeline.last.get();
  const DeviceMemory& activation = pipeline.activation;
  const DeviceMemory& gradient = pipeline.gradient;
  const StageOp op{.step = 1, .microbatch = 0};
  pipeline.device.mark(1);
  first->forward(op, {}, activation.bytes());
  last->forward(op, activation.bytes(), {});
  last->backward_input(op, {}, gradient.bytes());
  first->backward(
      {.op = op, .output_gradient = gradient.bytes(), .input_gradient = {}, .gradient = {}});
  last->backward_weight(op, {});
  pipeline.device.mark(2);
  pipeline.finish();
  const auto time = pipeline.device.time_of(2) - pipeline.device.time_of(1);
  EXPECT_GE(time, milliseconds(3 + 3 + 5 + 9 + 4));
  EXPECT_EQ(last->loss(0), 0.0);
  EXPECT_NO_THROW(first->apply_gradient({}));
}

TEST_F(CudaSpin, AMessageThatStrayedIsNamed) {
  Pipeline pipeline;
  pipeline.first->forward({.step = 1, .microbatch = 1}, {}, pipeline.activation.bytes());
  pipeline.last->forward({.step = 1, .microbatch = 0}, pipeline.activation.bytes(), {});
  pipeline.finish();
  try {
    pipeline.last->apply_gradient({});
    FAIL() << "was not found";
  } catch (const std::runtime_error& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("expected activation of stage 0, microbatch 0"));
    EXPECT_THAT(error.what(), testing::HasSubstr("found activation of stage 0, microbatch 1"));
  }
}

}  // namespace
}  // namespace dualpipe
