#include "runtime/models/parameters.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include <gtest/gtest.h>

#include "runtime/models/float_layout.h"
#include "tests/support/host_math.h"

namespace dualpipe {
namespace {

std::vector<float> weight(std::uint64_t seed, const char* name) {
  Parameters parameters(seed);
  const FloatRange range = parameters.add_weight(name, 100, 0.5);
  const std::span<const float> values = range.in(parameters.values());
  return {values.begin(), values.end()};
}

TEST(Parameters, TensorsFollowEachOtherWithoutGaps) {
  Parameters parameters(1);
  const FloatRange first = parameters.add_weight("first", 3, 1.0);
  const FloatRange second = parameters.add_constant("second", 2, 7.0F);
  EXPECT_EQ(first.offset, 0U);
  EXPECT_EQ(second.offset, 3U);
  ASSERT_EQ(parameters.values().size(), 5U);
  EXPECT_EQ(parameters.values()[3], 7.0F);
  EXPECT_EQ(parameters.values()[4], 7.0F);
  ASSERT_EQ(parameters.tensors().size(), 2U);
  EXPECT_EQ(parameters.tensors()[0].name, "first");
  EXPECT_TRUE(parameters.tensors()[0].decays);
  EXPECT_FALSE(parameters.tensors()[1].decays);
}

TEST(Parameters, AWeightDependsOnSeedAndNameAlone) {
  Parameters parameters(1);
  static_cast<void>(parameters.add_weight("other", 10, 1.0));
  const FloatRange range = parameters.add_weight("weight", 100, 0.5);
  EXPECT_TRUE(std::ranges::equal(range.in(parameters.values()), weight(1, "weight")));
  EXPECT_NE(weight(1, "weight"), weight(2, "weight"));
  EXPECT_NE(weight(1, "weight"), weight(1, "weight2"));
}

TEST(Parameters, AWeightHasItsDeviation) {
  Parameters parameters(3);
  static_cast<void>(parameters.add_weight("weight", 10'000, 0.02));
  double squares = 0.0;
  for (const float value : parameters.values()) {
    squares += static_cast<double>(value) * static_cast<double>(value);
  }
  // The standard error of a deviation is 1 / sqrt(2 count) of it: 0.7 % here, and five of them.
  EXPECT_NEAR(std::sqrt(squares / 10'000), 0.02, 0.02 * 0.036);
}

TEST(Parameters, MovedToADeviceTheyHaveTheSameValuesThere) {
  Parameters parameters(4);
  const FloatRange range = parameters.add_weight("weight", 100, 0.5);
  parameters.move_to(host_math().device());
  EXPECT_TRUE(std::ranges::equal(range.in(parameters.values()), weight(4, "weight")));
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(parameters.values().data()) % 64, 0U);
}

}  // namespace
}  // namespace dualpipe
