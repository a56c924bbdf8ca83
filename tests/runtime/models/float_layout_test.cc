#include "runtime/models/float_layout.h"

#include <array>
#include <cstddef>
#include <span>
#include <vector>

#include <gtest/gtest.h>

namespace dualpipe {
namespace {

TEST(FloatLayout, PlacesFollowEachOtherAndBeginOnCacheLines) {
  FloatLayout layout;
  const FloatRange first = layout.add(3);
  const FloatRange second = layout.add(16);
  const FloatRange third = layout.add(17);
  EXPECT_EQ(first.offset, 0U);
  EXPECT_EQ(first.size, 3U);
  EXPECT_EQ(second.offset, 16U);
  EXPECT_EQ(third.offset, 32U);
  EXPECT_EQ(layout.size(), 64U);
}

TEST(FloatRange, IsAViewOfItsPlace) {
  std::vector<float> array(8);
  const FloatRange range{.offset = 2, .size = 3};
  range.in(std::span(array))[1] = 4.0F;
  EXPECT_EQ(array[3], 4.0F);
  EXPECT_EQ(range.in(std::span(array)).size(), 3U);
}

TEST(AsFloats, BytesOfAMessageAreItsFloats) {
  std::vector<float> array(2);
  array[1] = 1.5F;
  const std::span<std::byte> bytes = std::as_writable_bytes(std::span(array));
  EXPECT_EQ(as_floats(bytes)[1], 1.5F);
  EXPECT_EQ(as_floats(std::span<const std::byte>(bytes)).size(), 2U);
  EXPECT_TRUE(as_floats(std::span<std::byte>()).empty());
}

TEST(AsFloatsDeathTest, BytesThatAreNoWholeFloatsAreABug) {
  std::array<std::byte, 6> bytes{};
  EXPECT_DEATH(static_cast<void>(as_floats(std::span<std::byte>(bytes))), "holds_floats");
}

}  // namespace
}  // namespace dualpipe
