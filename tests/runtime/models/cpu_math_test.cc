// That the formulas are right is proved by the layers' tests and by the whole model against its
// reference. Here is what the interface promises besides.

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>
#include <span>
#include <vector>

#include <gtest/gtest.h>

#include "runtime/models/math.h"
#include "tests/support/host_math.h"

namespace dualpipe {
namespace {

// Two products of 1x2 by 2x1, their operands interleaved in one array as attention's heads are.
TEST(CpuMath, MultipliesSeveralPairsOfMatrices) {
  const std::array<float, 8> operands{1, 2, 10, 20, 3, 4, 30, 40};
  std::array<float, 2> results{100, 200};
  const ConstMatrix left{.data = operands.data(), .rows = 1, .columns = 2, .stride = 2, .step = 2};
  const ConstMatrix right{
      .data = operands.data() + 4, .rows = 1, .columns = 2, .stride = 2, .step = 2};
  host_math().multiply({.left = left, .right = transposed(right), .keep = 1.0F, .count = 2},
                       {.data = results.data(), .rows = 1, .columns = 1, .stride = 1, .step = 1});
  EXPECT_EQ(results, (std::array<float, 2>{100 + 11, 200 + 1100}));
}

TEST(CpuMath, SetsAddsToAndSumsRows) {
  const std::array<float, 2> row{1, 2};
  std::array<float, 6> rows{5, 5, 5, 5, 5, 5};
  host_math().set_rows(row, rows);
  EXPECT_EQ(rows, (std::array<float, 6>{1, 2, 1, 2, 1, 2}));
  host_math().add_to_rows(row, std::span(rows).subspan(2));
  EXPECT_EQ(rows, (std::array<float, 6>{1, 2, 2, 4, 2, 4}));
  std::array<float, 2> sum{-1, -1};
  host_math().sum_rows(rows, sum);
  EXPECT_EQ(sum, (std::array<float, 2>{5, 10}));
}

// exp(log 3) : exp(0) = 3 : 1; what is later counts for nothing, whatever it holds.
TEST(CpuMath, CausalSoftmaxOfTwoSquaresByHand) {
  const float log3 = std::log(3.0F);
  std::vector<float> scores{7, 1e30F, log3, 0, -7, 1e30F, 0, log3};
  host_math().causal_softmax(scores, 2);
  const std::vector<float> expected{1, 0, 0.75F, 0.25F, 1, 0, 0.25F, 0.75F};
  for (std::size_t element = 0; element < expected.size(); ++element) {
    EXPECT_NEAR(scores[element], expected[element], 1e-6) << element;
  }
}

TEST(CpuMath, LossesByHandLeaveTheirGradients) {
  double loss = 0.0;
  std::array<float, 4> predictions{1, 2, 3, 4};
  const std::array<float, 4> targets{1, 0, 6, 4};
  host_math().squared_error(targets, 0.5, predictions, {.rows = {}, .total = &loss});
  EXPECT_EQ(loss, 0.5 * (4 + 9));
  EXPECT_EQ(predictions, (std::array<float, 4>{0, 2, -3, 0}));
  std::array<float, 2> logits{0, 0};
  const std::array<std::uint8_t, 1> target{1};
  host_math().cross_entropy(target, 2.0, logits, {.rows = {}, .total = &loss});
  EXPECT_NEAR(loss, 2.0 * std::numbers::ln2, 1e-12);
  EXPECT_EQ(logits, (std::array<float, 2>{1, -1}));
}

TEST(CpuMath, DoesWhatItIsAskedAtOnceAndHasNoSide) {
  EXPECT_EQ(host_math().side(), nullptr);
  const std::array<float, 2> from{1, 2};
  std::array<float, 2> to{};
  host_math().copy(from, to);
  EXPECT_EQ(to, from);
  host_math().zero(to);
  EXPECT_EQ(to, (std::array<float, 2>{}));
}

}  // namespace
}  // namespace dualpipe
