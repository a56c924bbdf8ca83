#include "runtime/cuda/cuda_spin.h"

#include <chrono>
#include <cstddef>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>

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

void finish(CudaDevice& device) {
  device.mark(0);
  ASSERT_TRUE(device.wait(0, Clock::now() + std::chrono::seconds(20)));
}

TEST_F(CudaSpin, CallsTakeTheModelledTimesAndPassMessages) {
  CudaDevice device(0);
  device.reserve_marks(3);
  const StageFactory make = make_cuda_spin(two_stages(), device);
  const std::unique_ptr<Stage> first = make(0);
  const std::unique_ptr<Stage> last = make(1);
  first->allocate(1);
  last->allocate(1);
  const DeviceMemory activation(device, first->output_bytes());
  const DeviceMemory gradient(device, last->input_bytes());
  const StageOp op{.step = 1, .microbatch = 0};
  finish(device);

  device.mark(1);
  first->forward(op, {}, activation.bytes());
  last->forward(op, activation.bytes(), {});
  last->backward_input(op, {}, gradient.bytes());
  first->backward(
      {.op = op, .output_gradient = gradient.bytes(), .input_gradient = {}, .gradient = {}});
  last->backward_weight(op, {});
  device.mark(2);
  finish(device);
  const auto time = device.time_of(2) - device.time_of(1);
  EXPECT_GE(time, milliseconds(3 + 3 + 5 + 9 + 4));
  EXPECT_EQ(last->loss(0), 0.0);
  EXPECT_NO_THROW(first->apply_gradient({}));
}

TEST_F(CudaSpin, AMessageThatStrayedIsNamed) {
  CudaDevice device(0);
  device.reserve_marks(1);
  const StageFactory make = make_cuda_spin(two_stages(), device);
  const std::unique_ptr<Stage> first = make(0);
  const std::unique_ptr<Stage> last = make(1);
  first->allocate(1);
  last->allocate(1);
  const DeviceMemory activation(device, first->output_bytes());
  first->forward({.step = 1, .microbatch = 1}, {}, activation.bytes());
  last->forward({.step = 1, .microbatch = 0}, activation.bytes(), {});
  finish(device);
  try {
    last->apply_gradient({});
    FAIL() << "was not found";
  } catch (const std::runtime_error& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("expected activation of stage 0, microbatch 0"));
    EXPECT_THAT(error.what(), testing::HasSubstr("found activation of stage 0, microbatch 1"));
  }
}

}  // namespace
}  // namespace dualpipe
