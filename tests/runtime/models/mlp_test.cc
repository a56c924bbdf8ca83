#include "runtime/models/mlp.h"

#include <cstddef>
#include <cstdint>
#include <memory>

#include <gtest/gtest.h>

#include "costs/error.h"
#include "runtime/models/math.h"
#include "runtime/models/model.h"
#include "runtime/stage.h"
#include "tests/runtime/models/hand_pipeline.h"
#include "tests/support/host_math.h"

namespace dualpipe {
namespace {

ModelOptions options_for(int stages, int layers) {
  ModelOptions options;
  options.stages = stages;
  options.layers = layers;
  return options;
}

TEST(Mlp, ZeroSizesAreTheDefaults) {
  const std::unique_ptr<Stage> stage = make_mlp(options_for(4, 0), host_math())(1);
  EXPECT_EQ(stage->input_bytes(), std::size_t{32} * 64 * sizeof(float));
  EXPECT_EQ(stage->parameter_count(), 2U * (64U * 64U + 64U));
}

TEST(Mlp, RefusesOptionsThatDoNotFit) {
  EXPECT_THROW(static_cast<void>(make_mlp(options_for(0, 0), host_math())), Error);
  EXPECT_THROW(static_cast<void>(make_mlp(options_for(3, 2), host_math())), Error);
  ModelOptions options = options_for(1, 1);
  options.width = -1;
  EXPECT_THROW(static_cast<void>(make_mlp(options, host_math())), Error);
  options.width = 0;
  options.precision = ProductPrecision::bfloat16;
  EXPECT_THROW(static_cast<void>(make_mlp(options, host_math())), Error);
  options.precision = ProductPrecision::float32;
  options.width = 1 << 20;
  EXPECT_THROW(static_cast<void>(make_mlp(options, host_math())), Error);
}

// The targets' variance is about 0.39: who only learns their mean stays there.
TEST(Mlp, LearnsItsTeacher) {
  constexpr int microbatches = 8;
  ModelOptions options = options_for(2, 4);
  options.microbatches = microbatches;
  options.width = 16;
  options.learning_rate = 1e-2;
  HandPipeline pipeline(make_mlp(options, host_math()), 2, 1);
  double loss = 0.0;
  for (std::uint64_t step = 0; step < 150; ++step) {
    loss = pipeline.train(step, microbatches);
  }
  EXPECT_LT(loss, 0.15);
}

}  // namespace
}  // namespace dualpipe
