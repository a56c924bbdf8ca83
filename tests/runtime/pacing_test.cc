#include "runtime/pacing.h"

#include <chrono>
#include <cstddef>

#include <gtest/gtest.h>

namespace dualpipe {
namespace {

using std::chrono::microseconds;

const Pacing::Time start{};

TEST(Pacing, SleepsAtOnceWhereCoresAreShared) {
  Pacing pacing(false);
  pacing.restart(start, 0);
  EXPECT_EQ(pacing.pause(start, false), Pacing::pause_min);
}

TEST(Pacing, SpinsThenYieldsThenSleepsWhereThereAreCoresToSpare) {
  Pacing pacing(true);
  pacing.restart(start, 0);
  int polls = 0;
  int yields = 0;
  while (pacing.pause(start, false) == microseconds(0)) {
    ++polls;
    yields += pacing.yields() ? 1 : 0;
  }
  EXPECT_EQ(polls, Pacing::polls_spinning + Pacing::polls_yielding);
  EXPECT_EQ(yields, Pacing::polls_yielding);
  pacing.restart(start, 0);
  EXPECT_EQ(pacing.pause(start, false), microseconds(0));
  EXPECT_FALSE(pacing.yields());
}

TEST(Pacing, SleepsForAnEighthOfTheTimeAlreadyIdleWithinBounds) {
  Pacing pacing(false);
  pacing.restart(start, 0);
  EXPECT_EQ(pacing.pause(start + microseconds(100), false), Pacing::pause_min);
  EXPECT_EQ(pacing.pause(start + microseconds(800), false), microseconds(100));
  EXPECT_EQ(pacing.pause(start + microseconds(800), true), microseconds(100));
  EXPECT_EQ(pacing.pause(start + std::chrono::seconds(1), false), Pacing::pause_max);
  EXPECT_EQ(pacing.pause(start + std::chrono::seconds(1), true), Pacing::pause_max_remote);
}

TEST(Pacing, LooksOftenWhileALargeMessageMayBeMoving) {
  constexpr std::size_t bytes = 8'000'000;  // 8 ms at the guessed speed
  Pacing pacing(false);
  pacing.restart(start, bytes);
  EXPECT_EQ(pacing.pause(start + microseconds(8'000), false), Pacing::pause_min);
  EXPECT_EQ(pacing.pause(start + microseconds(8'800), false), microseconds(100));
}

}  // namespace
}  // namespace dualpipe
