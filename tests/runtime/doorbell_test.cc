#include "runtime/doorbell.h"

#include <chrono>
#include <cstdint>
#include <thread>

#include <gtest/gtest.h>

namespace dualpipe {
namespace {

constexpr std::chrono::seconds very_long{60};

TEST(Doorbell, ARingBeforeTheSleepIsNotMissed) {
  Doorbell bell;
  const std::uint32_t seen = bell.rings();
  bell.ring();
  bell.sleep(seen, very_long);
  EXPECT_EQ(bell.rings(), seen + 1);
}

TEST(Doorbell, SleepEndsByItself) {
  Doorbell bell;
  bell.sleep(bell.rings(), std::chrono::microseconds(100));
  EXPECT_EQ(bell.rings(), 0U);
}

// Two threads wake each other in turn: one missed ring, and the test takes minutes.
TEST(Doorbell, EveryRingWakes) {
  constexpr std::uint32_t rounds = 2000;
  Doorbell there;
  Doorbell back;
  const auto await = [](Doorbell& bell, std::uint32_t rings) {
    for (std::uint32_t seen = bell.rings(); seen < rings; seen = bell.rings()) {
      bell.sleep(seen, very_long);
    }
  };
  const std::jthread other([&] {
    for (std::uint32_t round = 1; round <= rounds; ++round) {
      await(there, round);
      back.ring();
    }
  });
  const auto begin = std::chrono::steady_clock::now();
  for (std::uint32_t round = 1; round <= rounds; ++round) {
    there.ring();
    await(back, round);
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, very_long);
}

}  // namespace
}  // namespace dualpipe
