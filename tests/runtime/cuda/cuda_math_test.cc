// The GPU's arithmetic against the host's, as it is launched; what the host's computes is proved in
// tests/runtime/models. Sums have another order here, and so other last bits.

#include "runtime/cuda/cuda_math.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "runtime/cuda/cuda_device.h"
#include "runtime/cuda/cuda_handles.h"
#include "runtime/device.h"
#include "runtime/models/gpt_stage.h"
#include "runtime/models/math.h"
#include "runtime/models/mlp_stage.h"
#include "runtime/models/parameters.h"
#include "runtime/models/random.h"
#include "runtime/stage.h"
#include "tests/support/host_math.h"
#include "tests/support/needs_gpu.h"
#include "tests/support/overlap.h"

namespace dualpipe {
namespace {

// Neither divides a number of threads.
constexpr std::size_t rows = 13;
constexpr std::size_t width = 301;

// A Math with memory whose contents a test may give and take.
class Place {
 public:
  explicit Place(Math& math) : math_(math) { math.device().reserve_marks(1); }

  [[nodiscard]] Math& math() const { return math_; }

  // A copy of these values in the device's memory, which stays as long as this object.
  template <typename Value>
  std::span<Value> put(const std::vector<Value>& values) {
    const std::span<const std::byte> bytes = std::as_bytes(std::span(values));
    const DeviceMemory& staging =
        memory_.emplace_back(math_.device(), bytes.size(), MemoryHome::host);
    std::ranges::copy(bytes, staging.bytes().begin());
    const DeviceMemory& memory = memory_.emplace_back(math_.device(), bytes.size());
    math_.copy(staging.bytes(), memory.bytes());
    return {reinterpret_cast<Value*>(memory.bytes().data()), values.size()};
  }
  // In the host's memory, where the device can write.
  double& host_double() {
    return *reinterpret_cast<double*>(
        memory_.emplace_back(math_.device(), sizeof(double), MemoryHome::host).bytes().data());
  }

  void wait() {
    math_.device().mark(0);
    ASSERT_TRUE(math_.device().wait(0, std::chrono::steady_clock::now() + std::chrono::minutes(1)));
  }
  std::vector<float> take(std::span<const float> values) {
    const DeviceMemory staging(math_.device(), values.size_bytes(), MemoryHome::host);
    math_.copy(std::as_bytes(values), staging.bytes());
    wait();
    return {staging.floats().begin(), staging.floats().end()};
  }

 private:
  Math& math_;
  std::deque<DeviceMemory> memory_;  // whose elements stay where they are
};

std::vector<float> normals(std::size_t size, std::uint64_t key) {
  std::vector<float> values(size);
  std::uint64_t element = 0;
  for (float& value : values) {
    value = static_cast<float>(RandomStream{key}.normal(element++));
  }
  return values;
}

std::vector<float> matrix(std::uint64_t key) {
  return normals(rows * width, key);
}

float largest(std::span<const float> values) {
  float found = 0.0F;
  for (const float value : values) {
    found = std::max(found, std::abs(value));
  }
  return found;
}

// Relative to the largest of the expected.
void expect_near(std::span<const float> found, std::span<const float> expected, float tolerance) {
  ASSERT_EQ(found.size(), expected.size());
  const float allowed = tolerance * largest(expected);
  for (std::size_t element = 0; element < found.size(); ++element) {
    ASSERT_NEAR(found[element], expected[element], allowed) << element;
  }
}

class CudaMathTest : public NeedsGpu {
 protected:
  // What the calculation returns on the GPU and on the host.
  using Calculation = std::function<std::vector<float>(Place&)>;
  void compare(const Calculation& calculation, float tolerance = 2e-6F) {
    CudaDevice device(0);
    const std::unique_ptr<Math> math = make_cuda_math(device);
    Place there(*math);
    Place here(host_math());
    expect_near(calculation(there), calculation(here), tolerance);
  }
};

TEST_F(CudaMathTest, ElementsOfManyBlocks) {
  constexpr std::size_t count = 300'001;
  compare([](Place& place) {
    const std::span<float> values = place.put(normals(count, 1));
    const std::span<float> output = place.put(std::vector<float>(count));
    place.math().gelu(values, output);
    place.math().multiply_elements(output, values);
    return place.take(values);
  });
}

TEST_F(CudaMathTest, RowsAreSetAddedToScaledAndSummed) {
  compare([](Place& place) {
    const std::span<float> row = place.put(normals(width, 2));
    const std::span<float> others = place.put(matrix(3));
    const std::span<float> output = place.put(std::vector<float>(rows * width));
    place.math().add_to_rows(row, others);
    place.math().scale_rows(others, {.gain = row, .bias = others.first(width)}, output);
    place.math().set_rows(row, output.first(4 * width));
    const std::span<float> sum = place.put(std::vector<float>(width, -1.0F));
    place.math().sum_rows(output, sum);
    std::vector<float> all = place.take(output);
    const std::vector<float> sums = place.take(sum);
    all.insert(all.end(), sums.begin(), sums.end());
    return all;
  });
}

TEST_F(CudaMathTest, NormForwardAndBackward) {
  compare([](Place& place) {
    const std::span<float> result = place.put(std::vector<float>(rows * width + rows));
    const NormalisedRows normalised{.values = result.first(rows * width),
                                    .deviation_inverse = result.subspan(rows * width)};
    place.math().normalise(place.put(matrix(4)), normalised);
    const std::span<float> slopes = place.put(matrix(5));
    const std::span<float> gradient = place.put(matrix(6));
    place.math().norm_backward_input({.normalised = normalised.values,
                                      .deviation_inverse = normalised.deviation_inverse,
                                      .gain = place.put(normals(width, 7)),
                                      .output_gradient = slopes},
                                     gradient);
    const std::span<float> weights = place.put(std::vector<float>(2 * width, -1.0F));
    place.math().norm_backward_weight(
        {.normalised = normalised.values, .output_gradient = slopes},
        {.gain = weights.first(width), .bias = weights.subspan(width)});
    std::vector<float> all = place.take(gradient);
    const std::vector<float> weight_gradient = place.take(weights);
    all.insert(all.end(), weight_gradient.begin(), weight_gradient.end());
    return all;
  });
}

TEST_F(CudaMathTest, CausalSoftmaxAndItsBackward) {
  constexpr std::size_t length = 33;
  compare([](Place& place) {
    const std::span<float> probabilities = place.put(normals(3 * length * length, 8));
    const std::span<float> gradients = place.put(normals(3 * length * length, 9));
    place.math().causal_softmax(probabilities, length);
    place.math().causal_softmax_backward(probabilities, gradients, length);
    return place.take(gradients);
  });
}

TEST_F(CudaMathTest, EmbeddingAndItsGradientAreThoseOfTheHostToTheBit) {
  constexpr std::size_t positions = 4;
  const std::vector<std::uint8_t> tokens{'a', 'b', 255, 'a', 'a', 0, 'b', 'a'};
  compare(
      [&](Place& place) {
        const std::span<std::uint8_t> read = place.put(tokens);
        const std::span<float> token_table = place.put(normals(256 * width, 10));
        const std::span<float> position_table = place.put(normals(positions * width, 11));
        const std::span<float> stream = place.put(std::vector<float>(tokens.size() * width));
        place.math().embed(read, {.token = token_table, .position = position_table, .width = width},
                           stream);
        place.math().embed_backward(
            read, stream, {.token = token_table, .position = position_table, .width = width});
        std::vector<float> all = place.take(token_table);
        const std::vector<float> by_position = place.take(position_table);
        all.insert(all.end(), by_position.begin(), by_position.end());
        return all;
      },
      0.0F);
}

TEST_F(CudaMathTest, LossesAndTheirGradients) {
  compare([](Place& place) {
    const std::span<float> row_losses = place.put(std::vector<float>(rows));
    std::vector<std::uint8_t> targets(rows);
    for (std::size_t row = 0; row < rows; ++row) {
      targets[row] = static_cast<std::uint8_t>(19 * row);
    }
    const std::span<float> logits = place.put(matrix(12));
    double& entropy = place.host_double();
    place.math().cross_entropy(place.put(targets), 0.5, logits,
                               {.rows = row_losses, .total = &entropy});
    double& squares = place.host_double();
    place.math().squared_error(place.put(matrix(13)), 0.25, logits,
                               {.rows = row_losses, .total = &squares});
    std::vector<float> all = place.take(logits);
    all.push_back(static_cast<float>(entropy));
    all.push_back(static_cast<float>(squares));
    return all;
  });
}

TEST_F(CudaMathTest, AnOptimizerStep) {
  compare([](Place& place) {
    const std::span<float> values = place.put(matrix(14));
    const AdamWTensor tensor{.gradient = place.put(matrix(15)),
                             .first_moment = place.put(matrix(16)),
                             .second_moment = place.put(std::vector<float>(rows * width, 0.5F)),
                             .values = values};
    place.math().adamw({.beta1 = 0.9F,
                        .beta2 = 0.95F,
                        .second_scale = 2.0F,
                        .rate = 0.1F,
                        .epsilon = 1e-3F,
                        .kept = 0.99F},
                       tensor);
    return place.take(values);
  });
}

TEST_F(CudaMathTest, CopiesAndZeroes) {
  compare([](Place& place) {
    const std::span<float> values = place.put(matrix(17));
    place.math().copy(values.first(width), values.last(width));
    place.math().zero(values.subspan(1, 2 * width));
    return place.take(values);
  });
}

// What the side is asked for behind a fork comes after what was asked before it, and before what is
// asked behind a join.
// What the main queue is asked for is done while the side computes for half a second.
TEST_F(CudaMathTest, ASideComputesBesideTheMainQueue) {
  CudaDevice device(0);
  const std::unique_ptr<Math> math = make_cuda_math(device);
  device.reserve_marks(2);
  const DeviceMemory memory(device, 64);
  const CudaEvent side_done;
  math->fork();
  compute(device.side_stream(), std::chrono::milliseconds(500));
  math->side()->zero(memory.floats().first(8));
  side_done.record(device.side_stream());
  math->zero(memory.floats().last(8));
  device.mark(0);
  EXPECT_TRUE(device.wait(0, std::chrono::steady_clock::now() + std::chrono::minutes(1)));
  EXPECT_FALSE(side_done.happened()) << "the main queue waited for the side";
  math->join();
  device.mark(1);
  EXPECT_TRUE(device.wait(1, std::chrono::steady_clock::now() + std::chrono::minutes(1)));
  EXPECT_TRUE(side_done.happened()) << "the main queue did not wait for the side";
}

TEST_F(CudaMathTest, ASideKeepsItsPlaceBetweenForkAndJoin) {
  CudaDevice device(0);
  const std::unique_ptr<Math> math = make_cuda_math(device);
  ASSERT_NE(math->side(), nullptr);
  EXPECT_EQ(math->side()->side(), nullptr);
  Place place(*math);
  constexpr std::size_t count = 100'000;
  const std::span<float> values = place.put(std::vector<float>(count, 1.0F));
  const std::span<float> two = place.put(std::vector<float>(count, 2.0F));
  const std::span<float> elsewhere = place.put(std::vector<float>(count, 3.0F));
  for (int turn = 0; turn < 10; ++turn) {
    math->add_to_rows(two, values);
    math->fork();
    math->side()->multiply_elements(two, values);
    math->multiply_elements(two, elsewhere);
    math->join();
  }
  // x -> 2 (x + 2), ten times from 1, is 5 * 2^10 - 4; all of it exact.
  EXPECT_EQ(place.take(values), std::vector<float>(count, 5.0F * 1024.0F - 4.0F));
  EXPECT_EQ(place.take(elsewhere), std::vector<float>(count, 3.0F * 1024.0F));
}

// --- whole models ---

// Fresh parameters have zero biases and nearly flat attention; a comparison wants neither. On the
// device, that is: by the one way to change them there.
void roughen(Place& place, Parameters& parameters) {
  std::vector<float> values = place.take(parameters.values());
  for (const Tensor& tensor : parameters.tensors()) {
    const std::vector<float> changes =
        normals(tensor.range.size, RandomStream{5}.named(tensor.name).key);
    for (std::size_t element = 0; element < changes.size(); ++element) {
      values[tensor.range.offset + element] += 0.4F * changes[element];
    }
  }
  place.math().copy(place.put(values), parameters.values());
}

struct StepResult {
  std::vector<double> losses;
  std::vector<float> gradient;          // of all microbatches, one behind another
  std::vector<float> input_gradient;    // likewise
  std::vector<float> parameters_after;  // an optimizer step with the last microbatch's gradient
};

// A microbatch's forward and the backward of the one before it overlap; the host asks for all of it
// before it waits for any. Requires: a last stage.
template <typename ModelStage>
StepResult run_overlapped(Place& place, ModelStage& stage, int microbatches) {
  stage.allocate(2);
  roughen(place, stage.parameters());
  const std::size_t input_size = stage.input_bytes() / sizeof(float);
  StepResult result;
  std::vector<std::span<float>> gradients;
  std::vector<std::span<float>> input_gradients;
  const auto forward_of = [&](int microbatch) {
    const std::span<float> input =
        place.put(normals(input_size, 100 + static_cast<std::uint64_t>(microbatch)));
    return Stage::ForwardCall{.op = {.step = 1, .microbatch = microbatch, .slot = microbatch % 2},
                              .input = std::as_bytes(input),
                              .output = {}};
  };
  const auto backward_of = [&](int microbatch) {
    gradients.push_back(place.put(std::vector<float>(stage.parameter_count(), -1.0F)));
    input_gradients.push_back(place.put(std::vector<float>(input_size, -1.0F)));
    return Stage::BackwardCall{.op = {.step = 1, .microbatch = microbatch, .slot = microbatch % 2},
                               .output_gradient = {},
                               .input_gradient = std::as_writable_bytes(input_gradients.back()),
                               .gradient = gradients.back()};
  };
  const Stage::ForwardCall first = forward_of(0);
  stage.forward(first.op, first.input, first.output);
  for (int microbatch = 1; microbatch < microbatches; ++microbatch) {
    stage.forward_overlapped(forward_of(microbatch), stage, backward_of(microbatch - 1));
  }
  stage.backward(backward_of(microbatches - 1));
  place.wait();
  stage.apply_gradient(gradients.back());
  result.parameters_after = place.take(stage.parameters().values());
  for (int microbatch = 0; microbatch < microbatches; ++microbatch) {
    const auto number = static_cast<std::size_t>(microbatch);
    result.losses.push_back(stage.loss(microbatch));
    const std::vector<float> gradient = place.take(gradients[number]);
    result.gradient.insert(result.gradient.end(), gradient.begin(), gradient.end());
    const std::vector<float> input_gradient = place.take(input_gradients[number]);
    result.input_gradient.insert(result.input_gradient.end(), input_gradient.begin(),
                                 input_gradient.end());
  }
  return result;
}

GptConfig small_gpt(int stages) {
  return {.stages = stages,
          .layers = 2,
          .microbatches = 3,
          .seed = 11,
          .shape = {.samples = 2, .sequence_length = 5, .heads = 2, .head_width = 4},
          .optimizer = {},
          .text = std::make_shared<const std::string>("the quick brown fox jumps over it")};
}

StepResult run_gpt(Math& math, int stages) {
  Place place(math);
  GptStage stage(small_gpt(stages), stages - 1, math);
  return run_overlapped(place, stage, 3);
}

void expect_near(const StepResult& found, const StepResult& expected, float tolerance) {
  for (std::size_t microbatch = 0; microbatch < expected.losses.size(); ++microbatch) {
    EXPECT_NEAR(found.losses[microbatch], expected.losses[microbatch],
                static_cast<double>(tolerance) * expected.losses[microbatch]);
  }
  expect_near(found.gradient, expected.gradient, tolerance);
  expect_near(found.input_gradient, expected.input_gradient, tolerance);
}

// One stage alone, with embedding and head; the last of two, with an input gradient.
TEST_F(CudaMathTest, GradientsOfTheLanguageModelAreTheHosts) {
  CudaDevice device(0);
  const std::unique_ptr<Math> math = make_cuda_math(device);
  for (const int stages : {1, 2}) {
    const StepResult expected = run_gpt(host_math(), stages);
    const StepResult found = run_gpt(*math, stages);
    expect_near(found, expected, 1e-5F);
    // AdamW's first step is the learning rate times the gradient's sign, nearly; where the gradient
    // is all but zero, the sign is chance.
    expect_near(found.parameters_after, expected.parameters_after, 1e-3F);
  }
}

TEST_F(CudaMathTest, EqualRunsHaveEqualBits) {
  CudaDevice device(0);
  const std::unique_ptr<Math> math = make_cuda_math(device);
  EXPECT_EQ(run_gpt(*math, 2).gradient, run_gpt(*math, 2).gradient);
}

// bfloat16 keeps 8 bits: a product's operand is off by up to 2^-9 of itself, and a gradient passes
// some thirty products.
TEST_F(CudaMathTest, GradientsInBfloat16AreNear) {
  CudaDevice device(0);
  const std::unique_ptr<Math> math = make_cuda_math(device, ProductPrecision::bfloat16);
  EXPECT_EQ(math->precision(), ProductPrecision::bfloat16);
  const StepResult expected = run_gpt(host_math(), 1);
  const StepResult found = run_gpt(*math, 1);
  expect_near(found, expected, 0.06F);
  EXPECT_GT(largest(found.gradient), 0.0F);
  EXPECT_NE(found.gradient, expected.gradient);
}

TEST_F(CudaMathTest, GradientsOfTheMlpAreTheHosts) {
  const auto run = [](Math& math) {
    Place place(math);
    const MlpConfig config{.stages = 1,
                           .layers = 3,
                           .microbatches = 4,
                           .seed = 21,
                           .samples = 6,
                           .width = 20,
                           .optimizer = {}};
    MlpStage stage(config, 0, math);
    return run_overlapped(place, stage, 4);
  };
  CudaDevice device(0);
  const std::unique_ptr<Math> math = make_cuda_math(device);
  expect_near(run(*math), run(host_math()), 1e-5F);
}

}  // namespace
}  // namespace dualpipe
