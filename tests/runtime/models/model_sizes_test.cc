#include "runtime/models/model_sizes.h"

#include <limits>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/error.h"
#include "runtime/models/math.h"
#include "runtime/models/model.h"
#include "tests/support/host_math.h"

namespace dualpipe {
namespace {

using testing::HasSubstr;

// What an option's error says; "" when there is none.
template <typename Function>
std::string usage_error(const Function& function) {
  try {
    static_cast<void>(function());
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::usage);
    return error.what();
  }
  return "";
}

ModelOptions options_for(int stages, int layers) {
  ModelOptions options;
  options.stages = stages;
  options.layers = layers;
  return options;
}

ModelOptions options_with_rate(double learning_rate) {
  ModelOptions options;
  options.learning_rate = learning_rate;
  return options;
}

TEST(ModelSizes, LayersAreSharedContiguouslyAndEarlyStagesGetTheRemainder) {
  const LayerSplit split{.layers = 11, .stages = 4};
  int next = 0;
  int stage = 0;
  for (const int expected : {3, 3, 3, 2}) {
    const LayerRange range = layers_of_stage(split, stage++);
    EXPECT_EQ(range.first, next);
    EXPECT_EQ(range.count, expected);
    next += range.count;
  }
  EXPECT_EQ(next, 11);
}

TEST(ModelSizes, ZeroMeansThePreset) {
  EXPECT_EQ(size_or_preset({.model = "m", .name = "width", .given = 0, .preset = 7}), 7);
  EXPECT_EQ(size_or_preset({.model = "m", .name = "width", .given = 3, .preset = 7}), 3);
  EXPECT_EQ(learning_rate_or_preset("m", {}, 0.5), 0.5);
  EXPECT_EQ(learning_rate_or_preset("m", options_with_rate(0.25), 0.5), 0.25);
}

TEST(ModelSizes, PresetLayersAreAsManyForEveryStage) {
  EXPECT_EQ(layers_or_preset("m", options_for(4, 0), 8), 8);
  EXPECT_EQ(layers_or_preset("m", options_for(3, 0), 8), 9);
  EXPECT_EQ(layers_or_preset("m", options_for(16, 0), 8), 16);
  EXPECT_EQ(layers_or_preset("m", options_for(3, 8), 8), 8);
}

TEST(ModelSizes, RefusesSizesThatCannotBe) {
  for (const int given : {-1, std::numeric_limits<int>::max()}) {
    const std::string error = usage_error([given] {
      return size_or_preset({.model = "gpt", .name = "width", .given = given, .preset = 7});
    });
    EXPECT_THAT(error, HasSubstr("model gpt: width: expected a number from 1 to"));
    EXPECT_THAT(error, HasSubstr("found " + std::to_string(given)));
  }
}

TEST(ModelSizes, RefusesAPipelineWithoutStagesOrMicrobatches) {
  EXPECT_THROW(require_pipeline("m", options_for(0, 0)), Error);
  EXPECT_THROW(require_pipeline("m", options_for(-3, 0)), Error);
  ModelOptions options;
  options.microbatches = 0;
  EXPECT_THROW(require_pipeline("m", options), Error);
  EXPECT_NO_THROW(require_pipeline("m", {}));
}

TEST(ModelSizes, RefusesFewerLayersThanStages) {
  EXPECT_THAT(usage_error([] { return layers_or_preset("m", options_for(4, 3), 8); }),
              HasSubstr("expected at least one for each of the 4 stages, found 3"));
}

TEST(ModelSizes, RefusesALearningRateThatIsNone) {
  for (const double rate :
       {-1.0, std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN()}) {
    EXPECT_THAT(
        usage_error([rate] { return learning_rate_or_preset("m", options_with_rate(rate), 0.5); }),
        HasSubstr("learning_rate: expected a positive number"));
  }
}

TEST(ModelSizes, RefusesAPrecisionThatTheRankDoesNotComputeIn) {
  ModelOptions options;
  EXPECT_NO_THROW(require_precision("m", options, host_math()));
  options.precision = ProductPrecision::bfloat16;
  EXPECT_THAT(usage_error([&] {
                require_precision("m", options, host_math());
                return 0;
              }),
              HasSubstr("precision: expected float32, which is what this rank computes in; found "
                        "bfloat16"));
}

TEST(ModelSizes, RefusesWhatNoMemoryHolds) {
  EXPECT_NO_THROW(require_memory("m", 1e6));
  EXPECT_THAT(usage_error([] {
                require_memory("m", 1e18);
                return 0;
              }),
              HasSubstr("choose a smaller width"));
}

}  // namespace
}  // namespace dualpipe
