#include "runtime/models/gpt.h"

#include <cstddef>
#include <memory>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/error.h"
#include "runtime/models/model.h"
#include "runtime/stage.h"
#include "tests/runtime/models/hand_pipeline.h"
#include "tests/support/host_math.h"

namespace dualpipe {
namespace {

using testing::HasSubstr;

ModelOptions small() {
  ModelOptions options;
  options.stages = 2;
  options.microbatches = 2;
  options.layers = 2;
  options.width = 8;
  options.sequence_length = 4;
  options.microbatch_size = 1;
  options.text = "a stitch in time saves nine";
  return options;
}

std::string usage_error(const ModelOptions& options) {
  try {
    static_cast<void>(make_gpt(options, host_math()));
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::usage);
    return error.what();
  }
  return "";
}

TEST(Gpt, ZeroSizesAreTheDefaults) {
  ModelOptions options;
  options.stages = 4;
  options.text = std::string(65, 'x');
  const std::unique_ptr<Stage> stage = make_gpt(options, host_math())(1);
  EXPECT_EQ(stage->input_bytes(), std::size_t{4} * 64 * 128 * sizeof(float));
  // Two blocks of 12 width^2 weights and 13 width biases and gains.
  EXPECT_EQ(stage->parameter_count(), 2U * (12U * 128U * 128U + 13U * 128U));
}

TEST(Gpt, TheFactoryOutlivesTheOptions) {
  StageFactory factory;
  {
    const ModelOptions options = small();
    factory = make_gpt(options, host_math());
  }
  HandPipeline pipeline(factory, 2, 1);
  EXPECT_GT(pipeline.forward({}), 0.0);
}

TEST(Gpt, RefusesOptionsThatDoNotFit) {
  ModelOptions options = small();
  options.stages = 3;
  EXPECT_THAT(usage_error(options), HasSubstr("layers: expected at least one for each of the 3"));
  options = small();
  options.width = 10;
  EXPECT_THAT(usage_error(options),
              HasSubstr("width: expected a multiple of 4, one part per attention head; found 10; "
                        "use 12"));
  options = small();
  options.text = "abcd";
  EXPECT_THAT(usage_error(options), HasSubstr("text: expected at least 5 bytes"));
  options.text = "abcde";
  EXPECT_EQ(usage_error(options), "");
  options = small();
  options.sequence_length = -1;
  EXPECT_THAT(usage_error(options), HasSubstr("sequence_length: expected a number from 1"));
  options = small();
  options.microbatch_size = -1;
  EXPECT_THAT(usage_error(options), HasSubstr("microbatch_size: expected a number from 1"));
  options = small();
  options.width = 1 << 20;
  EXPECT_THAT(usage_error(options), HasSubstr("sizes: one stage with one microbatch would take"));
  options = small();
  options.microbatches = 0;
  EXPECT_THAT(usage_error(options), HasSubstr("microbatches: expected at least 1"));
  options = small();
  options.learning_rate = -1.0;
  EXPECT_THAT(usage_error(options), HasSubstr("learning_rate"));
}

}  // namespace
}  // namespace dualpipe
