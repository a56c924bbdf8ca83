#include "runtime/models/random.h"

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <set>

#include <gtest/gtest.h>

namespace dualpipe {
namespace {

// The published outputs of splitmix64 for seed 1234567 (Rosetta Code, "Pseudo-random
// numbers/Splitmix64").
TEST(RandomStream, BitsAreSplitmix64s) {
  const RandomStream random{1234567};
  const std::array<std::uint64_t, 5> published{6457827717110365317U, 3203168211198807973U,
                                               9817491932198370423U, 4593380528125082431U,
                                               16408922859458223821U};
  for (std::size_t counter = 0; counter < published.size(); ++counter) {
    EXPECT_EQ(random.bits(counter), published[counter]) << counter;
  }
}

// Of a standard normal distribution: mean 0, variance 1, skewness 0, kurtosis 3. The bounds are
// five standard errors: 1, sqrt 2, sqrt 15 and sqrt 96 over the root of the count.
TEST(RandomStream, NormalNumbersHaveTheMomentsOfTheNormalDistribution) {
  const RandomStream random{77};
  constexpr int count = 100'000;
  std::array<double, 5> moments{};
  for (std::uint64_t counter = 0; counter < count; ++counter) {
    const double value = random.normal(counter);
    double power = 1.0;
    for (double& moment : moments) {
      moment += power / count;
      power *= value;
    }
  }
  const double unit = 5.0 / std::sqrt(static_cast<double>(count));
  EXPECT_NEAR(moments[1], 0.0, unit);
  EXPECT_NEAR(moments[2], 1.0, unit * std::sqrt(2.0));
  EXPECT_NEAR(moments[3], 0.0, unit * std::sqrt(15.0));
  EXPECT_NEAR(moments[4], 3.0, unit * std::sqrt(96.0));
}

TEST(RandomStream, NeighbouringNormalNumbersAreUncorrelated) {
  const RandomStream random{78};
  constexpr int count = 100'000;
  double product = 0.0;
  for (std::uint64_t counter = 0; counter < count; ++counter) {
    product += random.normal(counter) * random.normal(counter + 1) / count;
  }
  EXPECT_NEAR(product, 0.0, 5.0 / std::sqrt(static_cast<double>(count)));
}

TEST(RandomStream, ChildrenAndNamesAndSeedsDiffer) {
  std::set<std::uint64_t> outputs;
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    const RandomStream random{seed};
    outputs.insert({random.bits(0), random.named("one").bits(0), random.named("two").bits(0)});
    for (std::uint64_t index = 0; index < 10; ++index) {
      outputs.insert({random.child(index).bits(0), random.child(index).child(0).bits(0)});
    }
  }
  EXPECT_EQ(outputs.size(), 10U * 23U);
}

}  // namespace
}  // namespace dualpipe
