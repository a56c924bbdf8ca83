#include "runtime/status.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>

#include <gtest/gtest.h>

namespace dualpipe {
namespace {

std::int64_t steady_ns() {
  return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
}

TEST(StatusPage, BeginsAsStartingFromNowOn) {
  const std::int64_t before = steady_ns();
  const StatusPage page;
  const RankStatus status = page.read();
  EXPECT_EQ(status.activity, Activity::starting);
  EXPECT_GE(status.since_ns, before);
  EXPECT_LE(status.since_ns, status.now_ns);
  EXPECT_LE(status.now_ns, steady_ns());
}

TEST(StatusPage, SaysWhatWasPublishedLast) {
  StatusPage page;
  page.publish(3, Activity::running, 17);
  const std::int64_t before = steady_ns();
  page.publish(4, Activity::awaiting_send, 18);
  const RankStatus status = page.read();
  EXPECT_EQ(status.step, 4);
  EXPECT_EQ(status.activity, Activity::awaiting_send);
  EXPECT_EQ(status.index, 18);
  EXPECT_GE(status.since_ns, before);
}

// The writer keeps step and index equal, and the activity in step with them; a reader never sees
// parts of two of its states.
TEST(StatusPage, IsReadWholeWhileItIsWritten) {
  constexpr std::int32_t writes = 100'000;
  StatusPage page;
  std::atomic<bool> written{false};
  const std::jthread writer([&] {
    for (std::int32_t k = 1; k <= writes; ++k) {
      page.publish(k, k % 2 == 0 ? Activity::running : Activity::awaiting_receive, k);
    }
    written = true;
  });
  std::int64_t last = 0;
  while (!written) {
    const RankStatus status = page.read();
    if (status.step == 0) {
      continue;
    }
    ASSERT_EQ(status.step, status.index);
    ASSERT_EQ(status.activity,
              status.step % 2 == 0 ? Activity::running : Activity::awaiting_receive);
    ASSERT_GE(status.step, last);
    last = status.step;
  }
}

}  // namespace
}  // namespace dualpipe
