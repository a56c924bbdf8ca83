#include "runtime/models/gpt_stage.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "runtime/models/corpus.h"
#include "runtime/models/float_layout.h"
#include "runtime/models/parameters.h"
#include "runtime/models/random.h"
#include "runtime/stage.h"
#include "tests/runtime/models/hand_pipeline.h"
#include "tests/runtime/models/reference_transformer.h"
#include "tests/support/float_array.h"
#include "tests/support/host_math.h"

namespace dualpipe {
namespace {

using Rows = ReferenceTransformer::Rows;
using Tokens = ReferenceTransformer::Tokens;

GptConfig tiny(int stages) {
  return {.stages = stages,
          .layers = 4,
          .microbatches = 3,
          .seed = 11,
          .shape = {.samples = 2, .sequence_length = 5, .heads = 2, .head_width = 3},
          .optimizer = {},
          .text = std::make_shared<const std::string>("the quick brown fox jumps over it")};
}

StageFactory factory(const GptConfig& config) {
  return [config](int stage) { return std::make_unique<GptStage>(config, stage, host_math()); };
}

// Fresh parameters have zero biases and nearly flat attention; a test of gradients wants neither.
// A tensor's change depends on its name alone, so it is the same however the model is cut.
void roughen(Stage& stage) {
  Parameters& parameters = dynamic_cast<GptStage&>(stage).parameters();
  for (const Tensor& tensor : parameters.tensors()) {
    const RandomStream random = RandomStream{5}.named(tensor.name);
    std::uint64_t element = 0;
    for (float& value : tensor.range.in(parameters.values())) {
      value += static_cast<float>(0.4 * random.normal(element++));
    }
  }
}

HandPipeline rough_pipeline(const GptConfig& config, int slots) {
  HandPipeline pipeline(factory(config), config.stages, slots);
  for (std::size_t stage = 0; stage < pipeline.size(); ++stage) {
    roughen(pipeline.stage(stage));
  }
  return pipeline;
}

// The samples of a microbatch and the reference model with a pipeline's parameters.
struct Reference {
  ReferenceTransformer model;
  std::vector<Tokens> inputs;
  std::vector<Tokens> targets;
  double weight = 0.0;  // of one token's loss

  Reference(const GptConfig& config, HandPipeline& pipeline, const StageOp& op)
      : weight(1.0 / static_cast<double>(config.shape.rows()) / config.microbatches) {
    model.layers = config.layers;
    model.heads = config.shape.heads;
    for (std::size_t stage = 0; stage < pipeline.size(); ++stage) {
      const Parameters& parameters = dynamic_cast<GptStage&>(pipeline.stage(stage)).parameters();
      for (const Tensor& tensor : parameters.tensors()) {
        const std::span<const float> values = tensor.range.in(parameters.values());
        model.tensors[tensor.name].assign(values.begin(), values.end());
      }
    }
    const Corpus corpus(config.text, config.seed, config.shape.sequence_length);
    Tokens all(config.shape.rows());
    corpus.read_inputs(op, all);
    inputs = cut(all, config.shape.sequence_length);
    corpus.read_targets(op, all);
    targets = cut(all, config.shape.sequence_length);
  }

  static std::vector<Tokens> cut(const Tokens& all, std::size_t length) {
    std::vector<Tokens> samples;
    for (auto first = all.begin(); first != all.end();
         first += static_cast<std::ptrdiff_t>(length)) {
      samples.emplace_back(first, first + static_cast<std::ptrdiff_t>(length));
    }
    return samples;
  }

  // The streams before block `layer`, one per sample.
  [[nodiscard]] std::vector<Rows> streams(int layer) const {
    std::vector<Rows> result;
    for (const Tokens& tokens : inputs) {
      result.push_back(model.blocks(model.embed(tokens), 0, layer));
    }
    return result;
  }
  [[nodiscard]] double loss_from(int layer, const std::vector<Rows>& streams) const {
    double sum = 0.0;
    for (std::size_t sample = 0; sample < streams.size(); ++sample) {
      sum += model.loss(model.blocks(streams[sample], layer, model.layers), targets[sample]);
    }
    return weight * sum;
  }
  [[nodiscard]] double loss() const { return loss_from(0, streams(0)); }
};

double central_difference(double& at, const std::function<double()>& function) {
  constexpr double step = 1e-5;
  const double value = at;
  at = value + step;
  const double above = function();
  at = value - step;
  const double below = function();
  at = value;
  return (above - below) / (2.0 * step);
}

// What single precision loses, relative to the tensor's largest slope.
constexpr double tolerance = 2e-5;

TEST(GptStage, LossIsTheReferencesInDoublePrecision) {
  const GptConfig config = tiny(1);
  HandPipeline pipeline = rough_pipeline(config, 1);
  for (int microbatch = 0; microbatch < config.microbatches; ++microbatch) {
    const StageOp op{.step = 2, .microbatch = microbatch, .slot = 0};
    const Reference reference(config, pipeline, op);
    EXPECT_NEAR(pipeline.forward(op), reference.loss(), 1e-5 * reference.loss());
  }
}

TEST(GptStage, WeightGradientOfEveryTensorIsTheReferencesDifference) {
  const GptConfig config = tiny(1);
  HandPipeline pipeline = rough_pipeline(config, 1);
  const StageOp op{.step = 1, .microbatch = 2, .slot = 0};
  const std::vector<float> gradient = pipeline.run(op).gradient;
  Reference reference(config, pipeline, op);
  const Parameters& parameters = dynamic_cast<GptStage&>(pipeline.stage(0)).parameters();
  for (const Tensor& tensor : parameters.tensors()) {
    const std::span<const float> slopes = tensor.range.in(std::span<const float>(gradient));
    const float largest = std::ranges::max(slopes, {}, [](float slope) { return std::abs(slope); });
    ASSERT_GT(std::abs(largest), 0.0F) << tensor.name;
    // Every element of the small tensors, a spread of the large ones.
    const std::size_t stride = 1 + tensor.range.size / 20;
    for (std::size_t element = 0; element < slopes.size(); element += stride) {
      double& at = reference.model.tensors.at(tensor.name)[element];
      const double expected = central_difference(at, [&] { return reference.loss(); });
      EXPECT_NEAR(slopes[element], expected, tolerance * std::abs(largest))
          << tensor.name << "[" << element << "]";
    }
  }
}

TEST(GptStage, InputGradientIsTheReferencesDifference) {
  const GptConfig config = tiny(2);
  HandPipeline pipeline = rough_pipeline(config, 1);
  const StageOp op{.step = 4, .microbatch = 0, .slot = 0};
  const Reference reference(config, pipeline, op);
  std::vector<Rows> streams = reference.streams(2);
  const std::size_t width = config.shape.width();
  const FloatArray boundary(config.shape.rows() * width);
  const FloatArray gradient(boundary.values().size());
  Stage& last = pipeline.stage(1);
  std::size_t element = 0;
  for (const Rows& stream : streams) {
    for (const std::vector<double>& row : stream) {
      for (const double value : row) {
        boundary.values()[element++] = static_cast<float>(value);
      }
    }
  }
  last.forward(op, std::as_bytes(boundary.values()), {});
  last.backward_input(op, {}, std::as_writable_bytes(gradient.values()));
  const float largest = std::abs(
      std::ranges::max(gradient.values(), {}, [](float slope) { return std::abs(slope); }));
  element = 0;
  for (Rows& stream : streams) {
    for (std::vector<double>& row : stream) {
      for (double& value : row) {
        const double expected =
            central_difference(value, [&] { return reference.loss_from(2, streams); });
        EXPECT_NEAR(gradient.values()[element], expected, tolerance * largest) << element;
        ++element;
      }
    }
  }
}

TEST(GptStage, CutIntoStagesChangesNoBit) {
  const StageOp op{.step = 3, .microbatch = 1, .slot = 0};
  HandPipeline whole = rough_pipeline(tiny(1), 1);
  const HandPipeline::Result expected = whole.run(op);
  for (const int stages : {2, 3, 4}) {
    HandPipeline pipeline = rough_pipeline(tiny(stages), 1);
    const HandPipeline::Result result = pipeline.run(op);
    EXPECT_EQ(result.loss, expected.loss) << stages;
    EXPECT_TRUE(same_bits(result.gradient, expected.gradient)) << stages;
  }
}

TEST(GptStage, FreshParametersAreTheSameHoweverItIsCut) {
  const auto values = [](int stages) {
    std::vector<float> all;
    for (int stage = 0; stage < stages; ++stage) {
      const GptStage made(tiny(stages), stage, host_math());
      all.insert(all.end(), made.parameters().values().begin(), made.parameters().values().end());
    }
    return all;
  };
  EXPECT_TRUE(same_bits(values(1), values(2)));
  EXPECT_TRUE(same_bits(values(1), values(4)));
}

TEST(GptStage, OrderOfCallsAndSlotChangeNoBit) {
  const auto op = [](int microbatch, int slot) {
    return StageOp{.step = 3, .microbatch = microbatch, .slot = slot};
  };
  std::vector<HandPipeline::Result> expected;
  HandPipeline plain = rough_pipeline(tiny(2), 1);
  for (int microbatch = 0; microbatch < 3; ++microbatch) {
    expected.push_back(plain.run(op(microbatch, 0)));
  }
  HandPipeline pipeline = rough_pipeline(tiny(2), 3);
  pipeline.forward(op(1, 2));
  pipeline.forward(op(0, 0));
  pipeline.backward_input(op(0, 0));
  pipeline.forward(op(2, 1));
  EXPECT_EQ(pipeline.stage(1).loss(1), expected[1].loss);
  pipeline.backward_input(op(1, 2));
  pipeline.backward_input(op(2, 1));
  EXPECT_TRUE(same_bits(pipeline.backward_weight(op(2, 1)), expected[2].gradient));
  EXPECT_EQ(pipeline.forward(op(2, 1)), expected[2].loss);  // the slot is free again
  EXPECT_TRUE(same_bits(pipeline.backward_weight(op(0, 0)), expected[0].gradient));
  EXPECT_TRUE(same_bits(pipeline.backward_weight(op(1, 2)), expected[1].gradient));
}

TEST(GptStage, OverfitsAShortText) {
  GptConfig config = tiny(2);
  config.layers = 2;
  config.shape = {.samples = 4, .sequence_length = 8, .heads = 2, .head_width = 8};
  config.optimizer.learning_rate = 1e-2;
  HandPipeline pipeline(factory(config), config.stages, 1);
  // A flat guess of 256 bytes has log 256 = 5.55; the text's 33 bytes determine each other.
  EXPECT_NEAR(pipeline.train(0, config.microbatches), std::log(256.0), 0.1);
  double loss = 0.0;
  for (std::uint64_t step = 1; step < 80; ++step) {
    loss = pipeline.train(step, config.microbatches);
  }
  EXPECT_LT(loss, 0.5);
}

TEST(GptStage, BoundariesAreTheStreamAndEndsHaveNone) {
  const GptStage first(tiny(2), 0, host_math());
  const GptStage last(tiny(2), 1, host_math());
  EXPECT_EQ(first.input_bytes(), 0U);
  EXPECT_EQ(first.output_bytes(), 60 * sizeof(float));
  EXPECT_EQ(last.input_bytes(), first.output_bytes());
  EXPECT_EQ(last.output_bytes(), 0U);
  EXPECT_GT(first.activation_bytes(), 0);
}

// Width 6: embedding 256 and 5 positions; a block of norms, 6x18, 6x6, 6x24 and 24x6 with biases;
// final norm and head.
TEST(GptStage, CountsItsParameters) {
  constexpr std::size_t width = 6;
  constexpr std::size_t block =
      4 * width + 18 * (width + 1) + 6 * (width + 1) + 24 * (width + 1) + 6 * (4 * width + 1);
  EXPECT_EQ(GptStage(tiny(2), 0, host_math()).parameter_count(), (256 + 5) * width + 2 * block);
  EXPECT_EQ(GptStage(tiny(2), 1, host_math()).parameter_count(),
            2 * block + 2 * width + 256 * (width + 1));
}

TEST(GptStage, WeightsDecayAndNormsAndBiasesDoNot) {
  const GptStage stage(tiny(1), 0, host_math());
  for (const Tensor& tensor : stage.parameters().tensors()) {
    const bool spared = tensor.name.ends_with(".bias") || tensor.name.ends_with(".gain");
    EXPECT_EQ(tensor.decays, !spared) << tensor.name;
  }
}

}  // namespace
}  // namespace dualpipe
