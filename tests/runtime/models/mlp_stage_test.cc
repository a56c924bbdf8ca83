#include "runtime/models/mlp_stage.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <memory>
#include <numbers>
#include <span>
#include <vector>

#include <gtest/gtest.h>

#include "runtime/models/parameters.h"
#include "runtime/models/teacher.h"
#include "runtime/stage.h"
#include "tests/runtime/models/hand_pipeline.h"
#include "tests/support/host_math.h"

namespace dualpipe {
namespace {

constexpr std::size_t width = 5;
constexpr std::size_t samples = 3;

MlpConfig tiny(int stages) {
  return {.stages = stages,
          .layers = 4,
          .microbatches = 3,
          .seed = 21,
          .samples = samples,
          .width = width,
          .optimizer = {}};
}

HandPipeline hand_pipeline(const MlpConfig& config, int slots) {
  return {[config](int stage) { return std::make_unique<MlpStage>(config, stage, host_math()); },
          config.stages, slots};
}

// The model once more, in double precision. Parameters: per layer a weight, then a bias.
double reference_loss(std::span<const double> parameters, const StageOp& op) {
  const MlpConfig config = tiny(1);
  const Teacher teacher(config.seed, width);
  std::vector<float> inputs(samples * width);
  std::vector<float> targets(samples * width);
  teacher.read_inputs(op, inputs);
  teacher.write_targets(inputs, targets);
  double loss = 0.0;
  for (std::size_t sample = 0; sample < samples; ++sample) {
    std::vector<double> values(inputs.begin() + static_cast<std::ptrdiff_t>(sample * width),
                               inputs.begin() + static_cast<std::ptrdiff_t>((sample + 1) * width));
    for (std::size_t layer = 0; layer < 4; ++layer) {
      const std::span<const double> weight = parameters.subspan(layer * (width + 1) * width);
      const std::span<const double> bias = weight.subspan(width * width, width);
      std::vector<double> outputs(bias.begin(), bias.end());
      for (std::size_t cell = 0; cell < width * width; ++cell) {
        outputs[cell % width] += values[cell / width] * weight[cell];
      }
      for (double& value : outputs) {
        const double inner =
            std::sqrt(2.0 / std::numbers::pi) * (value + 0.044715 * value * value * value);
        value = layer == 3 ? value : 0.5 * value * (1.0 + std::tanh(inner));
      }
      values = outputs;
    }
    for (std::size_t column = 0; column < width; ++column) {
      const double error = values[column] - static_cast<double>(targets[sample * width + column]);
      loss += error * error / static_cast<double>(samples * width) / config.microbatches;
    }
  }
  return loss;
}

TEST(MlpStage, LossAndGradientAreTheReferences) {
  HandPipeline pipeline = hand_pipeline(tiny(1), 1);
  const StageOp op{.step = 1, .microbatch = 2, .slot = 0};
  const HandPipeline::Result result = pipeline.run(op);
  const std::span<const float> values =
      dynamic_cast<MlpStage&>(pipeline.stage(0)).parameters().values();
  std::vector<double> parameters(values.begin(), values.end());
  EXPECT_NEAR(result.loss, reference_loss(parameters, op), 1e-5 * result.loss);
  const double largest =
      std::ranges::max(result.gradient, {}, [](float slope) { return std::abs(slope); });
  for (std::size_t element = 0; element < parameters.size(); ++element) {
    constexpr double step = 1e-5;
    const double value = parameters[element];
    parameters[element] = value + step;
    const double above = reference_loss(parameters, op);
    parameters[element] = value - step;
    const double below = reference_loss(parameters, op);
    parameters[element] = value;
    EXPECT_NEAR(result.gradient[element], (above - below) / (2.0 * step), 1e-5 * std::abs(largest))
        << element;
  }
}

TEST(MlpStage, CutIntoStagesChangesNoBit) {
  const StageOp op{.step = 3, .microbatch = 1, .slot = 0};
  HandPipeline whole = hand_pipeline(tiny(1), 1);
  const HandPipeline::Result expected = whole.run(op);
  for (const int stages : {2, 3, 4}) {
    HandPipeline pipeline = hand_pipeline(tiny(stages), 1);
    const HandPipeline::Result result = pipeline.run(op);
    EXPECT_EQ(result.loss, expected.loss) << stages;
    EXPECT_TRUE(same_bits(result.gradient, expected.gradient)) << stages;
  }
}

TEST(MlpStage, OrderOfCallsAndSlotChangeNoBit) {
  const StageOp first{.step = 3, .microbatch = 0, .slot = 1};
  const StageOp second{.step = 3, .microbatch = 1, .slot = 0};
  HandPipeline plain = hand_pipeline(tiny(2), 1);
  const HandPipeline::Result expected_first = plain.run({.step = 3, .microbatch = 0, .slot = 0});
  const HandPipeline::Result expected_second = plain.run({.step = 3, .microbatch = 1, .slot = 0});
  HandPipeline pipeline = hand_pipeline(tiny(2), 2);
  EXPECT_EQ(pipeline.forward(second), expected_second.loss);
  EXPECT_EQ(pipeline.forward(first), expected_first.loss);
  EXPECT_EQ(pipeline.stage(1).loss(second.microbatch), expected_second.loss);
  pipeline.backward_input(first);
  pipeline.backward_input(second);
  EXPECT_TRUE(same_bits(pipeline.backward_weight(second), expected_second.gradient));
  EXPECT_TRUE(same_bits(pipeline.backward_weight(first), expected_first.gradient));
}

}  // namespace
}  // namespace dualpipe
