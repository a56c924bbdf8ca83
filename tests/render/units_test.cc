#include "render/units.h"

#include <cstdint>
#include <limits>

#include <gtest/gtest.h>

#include "costs/cost_model.h"

namespace dualpipe {
namespace {

TEST(Units, ATimeIsWrittenInTheLargestUnitItHoldsOneOf) {
  EXPECT_EQ(format_time(Time(66'000'000)), "66.000 ms");
  EXPECT_EQ(format_time(Time(0)), "0 ns");
  EXPECT_EQ(format_time(Time(999)), "999 ns");
  EXPECT_EQ(format_time(Time(1'000)), "1.000 us");
  EXPECT_EQ(format_time(Time(1'500'000'000)), "1.500 s");
  EXPECT_EQ(format_time(Time(7'200'000'000'000)), "7200.000 s");
}

TEST(Units, ATimeIsRoundedHalfAwayFromZeroInBothDirections) {
  EXPECT_EQ(format_time(Time(1'000'499)), "1.000 ms");
  EXPECT_EQ(format_time(Time(1'000'500)), "1.001 ms");
  EXPECT_EQ(format_time(Time(-1'000'500)), "-1.001 ms");
  EXPECT_EQ(format_time(Time(999'999'999)), "1000.000 ms");
}

TEST(Units, ASmallNegativeTimeKeepsItsSignUnlessItRoundsToZero) {
  const TimeUnit unit = unit_of(Time(5'000'000));
  EXPECT_EQ(format_time_in(Time(-250'000), unit), "-0.250");
  EXPECT_EQ(format_time_in(Time(-20), unit), "0.000");
}

TEST(Units, TheExtremeTimesAreWritten) {
  EXPECT_EQ(format_time(Time(std::numeric_limits<std::int64_t>::max())), "9223372036.855 s");
  EXPECT_EQ(format_time(Time(std::numeric_limits<std::int64_t>::min())), "-9223372036.855 s");
}

TEST(Units, ARatioIsWrittenInPercentWithOneDecimal) {
  EXPECT_EQ(format_percent(6.0 / 66.0), "9.1%");
  EXPECT_EQ(format_percent(0.0), "0.0%");
  EXPECT_EQ(format_percent(1.0), "100.0%");
}

TEST(Units, BytesAreWrittenInPowersOf1024) {
  EXPECT_EQ(format_bytes(0), "0 B");
  EXPECT_EQ(format_bytes(1023), "1023 B");
  EXPECT_EQ(format_bytes(1024), "1.00 KiB");
  EXPECT_EQ(format_bytes(1536), "1.50 KiB");
  EXPECT_EQ(format_bytes(80LL * 1024 * 1024 * 1024), "80.00 GiB");
  EXPECT_EQ(format_bytes(std::numeric_limits<std::int64_t>::max()), "8.00 EiB");
}

TEST(Units, AScaledNumberHasNoTrailingZeros) {
  EXPECT_EQ(format_scaled(1250, 100), "12.5");
  EXPECT_EQ(format_scaled(1200, 100), "12");
  EXPECT_EQ(format_scaled(1205, 100), "12.05");
  EXPECT_EQ(format_scaled(-5, 100), "-0.05");
  EXPECT_EQ(format_scaled(0, 1), "0");
}

}  // namespace
}  // namespace dualpipe
