// What a trial is for, that nothing is used for the first time in a step, is seen in
// tests/runtime/cuda/first_use_test.cc.

#include "runtime/models/trial_call.h"

#include <gtest/gtest.h>

#include "runtime/cpu_device.h"
#include "runtime/stage.h"
#include "tests/support/toy_stage.h"

namespace dualpipe {
namespace {

TEST(TrialCall, HasTheMemoryOfARealCall) {
  CpuDevice device;
  ToyStage middle({.stages = 3, .microbatches = 2, .before = {}}, 1);
  middle.allocate(1);
  const TrialCall trial(middle, device);
  const Stage::ForwardCall forward = trial.forward();
  const Stage::BackwardCall backward = trial.backward();
  EXPECT_EQ(forward.input.size(), middle.input_bytes());
  EXPECT_EQ(backward.gradient.size(), middle.parameter_count());
  // The stage itself checks what it is given.
  middle.forward(forward.op, forward.input, forward.output);
  middle.backward(backward);
  trial.finish();
}

TEST(TrialCall, EndsOfThePipelineHaveEmptyBoundaries) {
  CpuDevice device;
  const ToyStage alone({.stages = 1, .microbatches = 1, .before = {}}, 0);
  const TrialCall trial(alone, device);
  EXPECT_TRUE(trial.forward().input.empty());
  EXPECT_TRUE(trial.backward().output_gradient.empty());
}

TEST(TrialCall, IsNotWantedWhereAskingIsDoing) {
  const CpuDevice device;
  EXPECT_FALSE(TrialCall::is_wanted(device));
}

}  // namespace
}  // namespace dualpipe
