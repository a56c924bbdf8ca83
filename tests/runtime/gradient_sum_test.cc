#include "runtime/gradient_sum.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <random>
#include <span>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/cpu_device.h"

namespace dualpipe {
namespace {

using testing::Each;
using testing::ElementsAreArray;

constexpr std::size_t parameters = 3;

// Of such different sizes that another order of addition gives other bits.
std::vector<float> gradient_of(int step, int microbatch) {
  std::vector<float> gradient;
  for (std::size_t i = 0; i < parameters; ++i) {
    const float mantissa =
        1.0F +
        static_cast<float>((37 * step + 11 * microbatch + 5 * static_cast<int>(i)) % 97) / 89;
    gradient.push_back(
        std::ldexp(microbatch % 3 == 0 ? -mantissa : mantissa, (microbatch * 7 + step) % 23));
  }
  return gradient;
}

// As the header says it: in order within each half of the microbatches, then the two halves.
std::vector<float> expected_sum(int step, const std::vector<int>& arrivals, int microbatches) {
  std::vector<float> sum(parameters);
  for (std::size_t i = 0; i < parameters; ++i) {
    float first = 0.0F;
    float second = 0.0F;
    for (int microbatch = 0; microbatch < microbatches; ++microbatch) {
      if (std::find(arrivals.begin(), arrivals.end(), microbatch) != arrivals.end()) {
        (microbatch < microbatches / 2 ? first : second) += gradient_of(step, microbatch)[i];
      }
    }
    sum[i] = first + second;
  }
  return sum;
}

void expect_sums(const std::vector<int>& arrivals, int microbatches, int steps) {
  CpuDevice device;
  GradientSum sum(device, parameters, arrivals, microbatches);
  for (int step = 0; step < steps; ++step) {
    for (const int microbatch : arrivals) {
      const std::vector<float> gradient = gradient_of(step, microbatch);
      std::copy(gradient.begin(), gradient.end(), sum.next().begin());
      sum.add(microbatch);
    }
    const std::span<float> total = sum.finish();
    ASSERT_THAT(total, ElementsAreArray(expected_sum(step, arrivals, microbatches)))
        << "step " << step << ", arrivals " << testing::PrintToString(arrivals);
    // The executor adds the replica's gradient in place; the next step must not see it.
    std::fill(total.begin(), total.end(), 1e30F);
  }
}

TEST(GradientSum, TheOrderOfAdditionWouldShow) {
  float forwards = 0.0F;
  float backwards = 0.0F;
  for (int microbatch = 0; microbatch < 20; ++microbatch) {
    forwards += gradient_of(0, microbatch)[0];
    backwards += gradient_of(0, 19 - microbatch)[0];
  }
  EXPECT_NE(forwards, backwards);
}

TEST(GradientSum, HasTheSameBitsForEveryOrderOfSixArrivals) {
  std::vector<int> arrivals(6);
  std::iota(arrivals.begin(), arrivals.end(), 0);
  do {
    expect_sums(arrivals, 6, 3);
  } while (!HasFatalFailure() && std::next_permutation(arrivals.begin(), arrivals.end()));
}

TEST(GradientSum, HasTheSameBitsForRandomOrdersOfTwenty) {
  std::vector<int> arrivals(20);
  std::iota(arrivals.begin(), arrivals.end(), 0);
  for (unsigned seed = 0; seed < 200 && !HasFatalFailure(); ++seed) {
    std::mt19937 random(seed);
    std::shuffle(arrivals.begin(), arrivals.end(), random);
    expect_sums(arrivals, 20, 3);
  }
}

// With two directions a stage object sees only some of the microbatches.
TEST(GradientSum, TakesAnySubsetOfTheMicrobatches) {
  expect_sums({4, 5, 3}, 6, 3);
  expect_sums({2, 0, 1}, 6, 3);
  expect_sums({5, 1, 0, 4}, 7, 3);
  expect_sums({2}, 6, 3);
  expect_sums({0}, 1, 3);
}

TEST(GradientSum, WithoutArrivalsIsZeroAtEveryStep) {
  CpuDevice device;
  GradientSum sum(device, parameters, {}, 4);
  for (int step = 0; step < 3; ++step) {
    const std::span<float> total = sum.finish();
    ASSERT_EQ(total.size(), parameters);
    EXPECT_THAT(total, Each(0.0F));
    std::fill(total.begin(), total.end(), 7.0F);  // as the sum with the other replica does
  }
}

TEST(GradientSum, OfNoParametersIsEmpty) {
  const std::vector<int> arrivals{1, 0};
  CpuDevice device;
  GradientSum sum(device, 0, arrivals, 2);
  sum.add(1);
  sum.add(0);
  EXPECT_TRUE(sum.finish().empty());
}

TEST(GradientSumDeathTest, MustNotBeFinishedWhileGradientsAreMissing) {
  const std::vector<int> arrivals{1, 0, 2, 3};
  CpuDevice device;
  GradientSum sum(device, parameters, arrivals, 4);
  sum.add(1);
  EXPECT_DEATH(static_cast<void>(sum.finish()), "CHECK");
}

}  // namespace
}  // namespace dualpipe
