#include "runtime/clock.h"

#include <chrono>
#include <cstdint>

#include <gtest/gtest.h>

#include "runtime/transport.h"
#include "runtime/watchdog.h"
#include "scheduler/compile.h"
#include "scheduler/generate.h"
#include "scheduler/program.h"
#include "tests/support/all_ranks.h"
#include "trace/timeline.h"

namespace dualpipe {
namespace {

using std::chrono::nanoseconds;

// Threads share one clock, so the true offset is zero and the bound must hold it, where ranks say
// that they are of different hosts.
TEST(ClockOffset, OfEqualClocksIsZeroWithinItsUncertainty) {
  const Program program =
      compile_or_throw(generate(find_family("gpipe"), {.ranks = 4, .microbatches = 1}));
  expect_success_on_all_ranks(4, [&](Transport& transport) {
    const BoundedWait waits(program, transport, std::chrono::seconds(30));
    const std::uint64_t identity = 1 + static_cast<std::uint64_t>(transport.rank());
    const ClockOffset clock = measure_clock_offset(waits, identity);
    if (transport.rank() == 0) {
      EXPECT_EQ(clock.offset, nanoseconds(0));
      EXPECT_EQ(clock.uncertainty, nanoseconds(0));
      return;
    }
    EXPECT_LE(std::chrono::abs(clock.offset), clock.uncertainty + nanoseconds(1));
    EXPECT_GT(clock.uncertainty, nanoseconds(0));
    EXPECT_LT(clock.uncertainty, std::chrono::seconds(1));
  });
}

TEST(ClockOffset, OfOneClockIsExactlyZero) {
  const Program program =
      compile_or_throw(generate(find_family("gpipe"), {.ranks = 4, .microbatches = 1}));
  expect_success_on_all_ranks(4, [&](Transport& transport) {
    const BoundedWait waits(program, transport, std::chrono::seconds(30));
    const auto before = std::chrono::steady_clock::now();
    const ClockOffset clock = measure_clock_offset(waits);
    EXPECT_EQ(clock.offset, nanoseconds(0));
    EXPECT_EQ(clock.uncertainty, nanoseconds(0));
    EXPECT_GE(clock.time, before);
  });
}

// Where hosts do not say which clock they have, nothing is the same.
TEST(ClockOffset, OfUnknownClocksIsMeasured) {
  const Program program =
      compile_or_throw(generate(find_family("gpipe"), {.ranks = 2, .microbatches = 1}));
  expect_success_on_all_ranks(2, [&](Transport& transport) {
    const BoundedWait waits(program, transport, std::chrono::seconds(30));
    EXPECT_EQ(measure_clock_offset(waits, 0).uncertainty > nanoseconds(0), transport.rank() != 0);
  });
}

TEST(ClockIdentity, IsKnownOnLinuxAndAlwaysTheSame) {
  EXPECT_NE(clock_identity(), 0U);
  EXPECT_EQ(clock_identity(), clock_identity());
}

TEST(ClockOffset, OfARankAloneIsZero) {
  const Program program =
      compile_or_throw(generate(find_family("gpipe"), {.ranks = 1, .microbatches = 1}));
  expect_success_on_all_ranks(1, [&](Transport& transport) {
    const BoundedWait waits(program, transport, std::chrono::seconds(1));
    EXPECT_EQ(measure_clock_offset(waits).offset, nanoseconds(0));
  });
}

std::chrono::steady_clock::time_point at(std::int64_t nanoseconds_since_epoch) {
  return std::chrono::steady_clock::time_point(nanoseconds(nanoseconds_since_epoch));
}

// A day into the host's life its clock has gained 40 us on rank 0's within 10 s, which is 4 ppm.
TEST(ClockLine, GoesThroughBothMeasurementsAndInBetweenInProportion) {
  constexpr std::int64_t second = 1'000'000'000;
  constexpr std::int64_t day = 86'400 * second;
  const ClockLine line{
      .begin = {.time = at(day), .offset = nanoseconds(-7'000), .uncertainty = nanoseconds(300)},
      .end = {.time = at(day + 10 * second),
              .offset = nanoseconds(-47'000),
              .uncertainty = nanoseconds(200)}};
  EXPECT_EQ(line.on_first(at(day)), nanoseconds(day - 7'000));
  EXPECT_EQ(line.on_first(at(day + 10 * second)), nanoseconds(day + 10 * second - 47'000));
  EXPECT_EQ(line.on_first(at(day + second)), nanoseconds(day + second - 11'000));
  EXPECT_EQ(line.summary(), (RankClock{.offset = nanoseconds(-7'000),
                                       .drift = nanoseconds(-40'000),
                                       .uncertainty = nanoseconds(300)}));
}

TEST(ClockLine, OfOneMeasurementTakenTwiceHasNoDrift) {
  const ClockOffset once{.time = at(5), .offset = nanoseconds(3), .uncertainty = nanoseconds(1)};
  EXPECT_EQ((ClockLine{.begin = once, .end = once}).on_first(at(9)), nanoseconds(12));
}

}  // namespace
}  // namespace dualpipe
