// The kernels whose threads work together, in both orders of the threads, against the host's
// arithmetic. Those whose threads do not are tested where they are launched, in cuda_math_test.cc.

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <vector>

#include <gtest/gtest.h>

#include "runtime/cuda/kernel_shapes.h"
#include "runtime/models/math.h"
#include "runtime/models/random.h"
#include "tests/support/block_emulator.h"
#include "tests/support/host_math.h"

// clang-format off
#include "runtime/cuda/kernels.cuh"  // after the emulator, which gives it CUDA's words
// clang-format on

namespace dualpipe {
namespace {

// Neither divides a number of threads, columns or parts; rows are longer than a block is wide.
constexpr unsigned rows = 21;
constexpr unsigned width = 150;

std::vector<float> normals(std::size_t size, std::uint64_t key) {
  std::vector<float> values(size);
  std::uint64_t element = 0;
  for (float& value : values) {
    value = static_cast<float>(RandomStream{key}.normal(element++));
  }
  return values;
}

std::vector<float> matrix(std::uint64_t key) {
  return normals(std::size_t{rows} * width, key);
}

// What the kernel leaves in `values`; the other order of threads must leave the same bits.
using Kernel = std::function<void(std::vector<float>& values)>;
std::vector<float> run(const EmulatedLaunch& launch, const std::vector<float>& values,
                       const Kernel& kernel) {
  std::vector<float> forwards = values;
  run_blocks(launch, [&] { kernel(forwards); });
  EmulatedLaunch turned = launch;
  turned.backwards = true;
  std::vector<float> backwards = values;
  run_blocks(turned, [&] { kernel(backwards); });
  EXPECT_TRUE(std::ranges::equal(forwards, backwards, {}, std::bit_cast<std::uint32_t, float>,
                                 std::bit_cast<std::uint32_t, float>))
      << "the order of the threads shows: a barrier is missing";
  return forwards;
}

EmulatedLaunch block_per_row(unsigned count) {
  return {.grid = {.x = count}, .block = {.x = row_threads}};
}

EmulatedLaunch block_per_columns() {
  return {.grid = {.x = (width + block_columns - 1) / block_columns},
          .block = {.x = column_threads}};
}

void expect_near(std::span<const float> found, std::span<const float> expected) {
  ASSERT_EQ(found.size(), expected.size());
  float largest = 0.0F;
  for (const float value : expected) {
    largest = std::max(largest, std::abs(value));
  }
  for (std::size_t element = 0; element < found.size(); ++element) {
    ASSERT_NEAR(found[element], expected[element], 2e-6F * largest) << element;
  }
}

TEST(Kernels, SumRows) {
  const std::vector<float> from = matrix(1);
  std::vector<float> expected(width);
  host_math().sum_rows(from, expected);
  expect_near(run(block_per_columns(), std::vector<float>(width, -1.0F),
                  [&](std::vector<float>& sum) {
                    dualpipe_sum_rows(from.data(), sum.data(), rows, width);
                  }),
              expected);
}

// Values and inverse deviations in one array.
TEST(Kernels, Normalise) {
  std::vector<float> from = matrix(2);
  for (float& value : from) {
    value = 3.0F * value + 1.0F;
  }
  std::vector<float> expected(from.size() + rows);
  host_math().normalise(from, {.values = std::span(expected).first(from.size()),
                               .deviation_inverse = std::span(expected).subspan(from.size())});
  expect_near(run(block_per_row(rows), std::vector<float>(expected.size()),
                  [&](std::vector<float>& to) {
                    dualpipe_normalise(from.data(), to.data(), to.data() + from.size(), width,
                                       1e-5F);
                  }),
              expected);
}

TEST(Kernels, BackwardOfTheNorm) {
  const std::vector<float> normalised = matrix(3);
  const std::vector<float> inverse = normals(rows, 4);
  const std::vector<float> gain = normals(width, 5);
  const std::vector<float> slopes = matrix(6);
  std::vector<float> expected = matrix(7);
  host_math().norm_backward_input({.normalised = normalised,
                                   .deviation_inverse = inverse,
                                   .gain = gain,
                                   .output_gradient = slopes},
                                  expected);
  expect_near(run(block_per_row(rows), matrix(7),
                  [&](std::vector<float>& gradient) {
                    dualpipe_norm_backward_input(normalised.data(), inverse.data(), gain.data(),
                                                 slopes.data(), gradient.data(), width);
                  }),
              expected);
  std::vector<float> weights(std::size_t{2} * width);
  host_math().norm_backward_weight(
      {.normalised = normalised, .output_gradient = slopes},
      {.gain = std::span(weights).first(width), .bias = std::span(weights).subspan(width)});
  expect_near(run(block_per_columns(), std::vector<float>(weights.size(), -1.0F),
                  [&](std::vector<float>& gradient) {
                    dualpipe_norm_backward_weight(normalised.data(), slopes.data(), gradient.data(),
                                                  gradient.data() + width, rows, width);
                  }),
              weights);
}

// Two squares of 150 x 150.
TEST(Kernels, CausalSoftmaxAndItsBackward) {
  const std::vector<float> scores = normals(std::size_t{2} * width * width, 8);
  std::vector<float> expected = scores;
  host_math().causal_softmax(expected, width);
  const std::vector<float> probabilities =
      run(block_per_row(2 * width), scores,
          [](std::vector<float>& values) { dualpipe_causal_softmax(values.data(), width); });
  expect_near(probabilities, expected);
  const std::vector<float> slopes = normals(scores.size(), 9);
  expected = slopes;
  host_math().causal_softmax_backward(probabilities, expected, width);
  expect_near(run(block_per_row(2 * width), slopes,
                  [&](std::vector<float>& values) {
                    dualpipe_causal_softmax_backward(probabilities.data(), values.data(), width);
                  }),
              expected);
}

// Row losses behind the logits; a large logit must not overflow.
TEST(Kernels, CrossEntropy) {
  std::vector<float> logits = matrix(10);
  logits[3] = 200.0F;
  std::vector<std::uint8_t> targets(rows);
  for (std::size_t row = 0; row < rows; ++row) {
    targets[row] = static_cast<std::uint8_t>(7 * row);
  }
  std::vector<float> expected = logits;
  double loss = 0.0;
  host_math().cross_entropy(targets, 0.25, expected, {.rows = {}, .total = &loss});
  std::vector<float> values = logits;
  values.resize(logits.size() + rows);
  values = run(block_per_row(rows), values, [&](std::vector<float>& all) {
    dualpipe_cross_entropy(targets.data(), all.data(), all.data() + logits.size(), width, 0.25);
  });
  expect_near(std::span(values).first(logits.size()), expected);
  double total = 0.0;
  run_blocks(block_per_row(1),
             [&] { dualpipe_sum_losses(values.data() + logits.size(), &total, rows, 0.25); });
  EXPECT_NEAR(total, loss, 1e-6 * loss);
}

TEST(Kernels, SquaredError) {
  const std::vector<float> targets = matrix(11);
  std::vector<float> expected = matrix(12);
  double loss = 0.0;
  host_math().squared_error(targets, 0.5, expected, {.rows = {}, .total = &loss});
  std::vector<float> values = matrix(12);
  values.resize(expected.size() + rows);
  values = run(block_per_row(rows), values, [&](std::vector<float>& all) {
    dualpipe_squared_error(targets.data(), all.data(), all.data() + expected.size(), width, 1.0F);
  });
  expect_near(std::span(values).first(expected.size()), expected);
  double total = 0.0;
  run_blocks(block_per_row(1),
             [&] { dualpipe_sum_losses(values.data() + expected.size(), &total, rows, 0.5); });
  EXPECT_NEAR(total, loss, 1e-6 * loss);
}

// Of 2^-7 + 2^-8 steps between neighbours around 1: the even one of two that are as near. By hand.
TEST(Kernels, RoundsToTheNearestBfloat16) {
  struct Case {
    float value;
    std::uint16_t expected;
  };
  const float infinity = std::numeric_limits<float>::infinity();
  const std::array<Case, 9> cases{{{1.0F, 0x3f80},
                                   {-2.0F, 0xc000},
                                   {1.0F + 0x1p-8F, 0x3f80},
                                   {1.0F + 0x1p-8F + 0x1p-20F, 0x3f81},
                                   {1.0F + 0x3p-8F, 0x3f82},
                                   {std::numeric_limits<float>::max(), 0x7f80},
                                   {-infinity, 0xff80},
                                   {0.0F, 0x0000},
                                   {std::bit_cast<float>(0x7f800001U), 0x7fc0}}};
  for (const auto& [value, expected] : cases) {
    EXPECT_EQ(nearest_bfloat16(value), expected) << value;
  }
}

// Two matrices of 2 x 3, side by side in rows of 7.
TEST(Kernels, RoundedMatricesHaveNoGaps) {
  std::array<float, 14> from{};
  for (std::size_t element = 0; element < from.size(); ++element) {
    from[element] = static_cast<float>(element);
  }
  std::array<std::uint16_t, 12> to{};
  run_blocks({.grid = {.x = 1, .y = 3}, .block = {.x = 2}}, [&] {
    dualpipe_round_to_bfloat16(from.data(), to.data(),
                               {.rows = 2, .columns = 3, .count = 2, .stride = 7, .step = 3});
  });
  const std::array<float, 12> expected{0, 1, 2, 7, 8, 9, 3, 4, 5, 10, 11, 12};
  for (std::size_t element = 0; element < to.size(); ++element) {
    EXPECT_EQ(std::bit_cast<float>(std::uint32_t{to[element]} << 16U), expected[element]);
  }
}

}  // namespace
}  // namespace dualpipe
