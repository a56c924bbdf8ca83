#include "runtime/clock.h"

#include <chrono>

#include <gtest/gtest.h>

#include "runtime/transport.h"
#include "runtime/watchdog.h"
#include "scheduler/compile.h"
#include "scheduler/generate.h"
#include "scheduler/program.h"
#include "tests/support/all_ranks.h"

namespace dualpipe {
namespace {

using std::chrono::nanoseconds;

// Threads share one clock, so the true offset is zero and the bound must hold it.
TEST(ClockOffset, OfOneClockIsZeroWithinItsUncertainty) {
  const Program program =
      compile_or_throw(generate(find_family("gpipe"), {.ranks = 4, .microbatches = 1}));
  expect_success_on_all_ranks(4, [&](Transport& transport) {
    const BoundedWait waits(program, transport, std::chrono::seconds(30));
    const ClockOffset clock = measure_clock_offset(waits);
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

TEST(ClockOffset, OfARankAloneIsZero) {
  const Program program =
      compile_or_throw(generate(find_family("gpipe"), {.ranks = 1, .microbatches = 1}));
  expect_success_on_all_ranks(1, [&](Transport& transport) {
    const BoundedWait waits(program, transport, std::chrono::seconds(1));
    EXPECT_EQ(measure_clock_offset(waits).offset, nanoseconds(0));
  });
}

}  // namespace
}  // namespace dualpipe
