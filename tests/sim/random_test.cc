#include "sim/random.h"

#include <cmath>
#include <cstdint>
#include <limits>

#include <gtest/gtest.h>

namespace dualpipe {
namespace {

constexpr std::uint64_t lowest = 0;
constexpr std::uint64_t highest = std::numeric_limits<std::uint64_t>::max();

// The bits of which a normal number is the quantile p; p is a multiple of 2^-11, so that half a
// quantum of 2^-53 is all that is added to it.
std::uint64_t bits_of(double p) {
  return static_cast<std::uint64_t>(p * 0x1p53) << 11U;
}

// The authors' C code, seeded with 1234567.
TEST(RandomBits, AreThoseOfSplitMix64) {
  EXPECT_EQ(random_bits(1234567, 0), 6457827717110365317U);
  EXPECT_EQ(random_bits(1234567, 1), 3203168211198807973U);
  EXPECT_EQ(random_bits(1234567, 2), 9817491932198370423U);
  EXPECT_EQ(random_bits(1234567, 3), 4593380528125082431U);
  EXPECT_EQ(random_bits(1234567, 4), 16408922859458223821U);
}

TEST(Exponential, IsThatOfTheMathLibraryUpToRounding) {
  for (double x = -700.0; x <= 700.0; x += 0.0371) {
    EXPECT_NEAR(exponential(x) / std::exp(x), 1.0, 4.5e-16) << x;
  }
  EXPECT_EQ(exponential(0.0), 1.0);
}

TEST(Logarithm, IsThatOfTheMathLibraryUpToRounding) {
  for (double x = 1e-300; x < 1e300; x *= 1.0371) {
    EXPECT_NEAR(logarithm(x), std::log(x), 1e-15 * (1.0 + std::abs(std::log(x)))) << x;
  }
  for (double x = 0.5; x < 2.0; x += 0.000371) {
    EXPECT_NEAR(logarithm(x), std::log(x), 3e-16) << x;
  }
  EXPECT_EQ(logarithm(1.0), 0.0);
}

// Published quantiles of the standard normal distribution.
TEST(StandardNormal, HasThePublishedQuantiles) {
  EXPECT_NEAR(standard_normal(bits_of(0.5)), 0.0, 1e-15);
  EXPECT_NEAR(standard_normal(bits_of(0.75)), 0.67448975019608171, 1e-15);
  EXPECT_NEAR(standard_normal(bits_of(0.25)), -0.67448975019608171, 1e-15);
  EXPECT_NEAR(standard_normal(bits_of(0.9375)), 1.5341205443525459, 2e-15);
  EXPECT_NEAR(standard_normal(bits_of(0.0625)), -1.5341205443525459, 2e-15);
  EXPECT_NEAR(standard_normal(bits_of(0.9990234375)), 3.0972690781987844, 3e-14);
}

// Its distribution function, erfc(-z / sqrt 2) / 2, takes every z back to its quantile; the tails,
// which the bits below count from, are the third piece of the approximation.
TEST(StandardNormal, InvertsTheDistributionFunctionFromEndToEnd) {
  for (int power = 1; power < 53; ++power) {
    const std::uint64_t quantile = std::uint64_t{1} << static_cast<unsigned>(power);
    const double p = (static_cast<double>(quantile) + 0.5) * 0x1p-53;
    const double z = standard_normal(quantile << 11U);
    EXPECT_NEAR(std::erfc(-z / std::sqrt(2.0)) / 2.0 / p, 1.0, 5e-14) << power;
    EXPECT_EQ(standard_normal(highest - (quantile << 11U)), -z) << power;
  }
  EXPECT_NEAR(standard_normal(lowest), -8.2920, 1e-3);
  EXPECT_EQ(standard_normal(highest), -standard_normal(lowest));
}

// The mean of n factors is 1 within four of its own deviations, sqrt((exp(sigma^2) - 1) / n); that
// of the logarithm is -sigma^2 / 2, its variance sigma^2.
TEST(LognormalFactor, HasMeanOneAndTheDeviationAskedFor) {
  constexpr int count = 200'000;
  for (const double sigma : {0.05, 0.3, 1.0}) {
    double sum = 0.0;
    double logarithms = 0.0;
    double squares = 0.0;
    for (int draw = 0; draw < count; ++draw) {
      const double factor =
          lognormal_factor(random_bits(42, static_cast<std::uint64_t>(draw)), sigma);
      sum += factor;
      logarithms += std::log(factor);
      squares += std::pow(std::log(factor) + sigma * sigma / 2.0, 2);
    }
    EXPECT_NEAR(sum / count, 1.0, 4.0 * std::sqrt((std::exp(sigma * sigma) - 1.0) / count));
    EXPECT_NEAR(logarithms / count, -sigma * sigma / 2.0, 4.0 * sigma / std::sqrt(count));
    EXPECT_NEAR(squares / count, sigma * sigma, 4.0 * sigma * sigma * std::sqrt(2.0 / count));
  }
  EXPECT_EQ(lognormal_factor(highest, 0.0), 1.0);
}

TEST(RandomDeathTest, NumbersOutsideTheRangeAreABug) {
  EXPECT_DEATH(static_cast<void>(exponential(701.0)), "CHECK");
  EXPECT_DEATH(static_cast<void>(logarithm(0.0)), "CHECK");
  EXPECT_DEATH(static_cast<void>(logarithm(-1.0)), "CHECK");
}

}  // namespace
}  // namespace dualpipe
