#include "runtime/status.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
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

TEST(StatusPage, RemembersWhatWasPublishedBeforeTheLatestFirst) {
  StatusPage page;
  EXPECT_EQ(page.read().past_count, 0);
  for (std::int32_t k = 1; k <= 100; ++k) {
    page.publish(7, Activity::running, k);
    const RankStatus status = page.read();
    ASSERT_EQ(status.index, k);
    ASSERT_EQ(status.past_count, std::min<std::int32_t>(k, RankStatus::past_max));
    for (std::int32_t before = 1; before <= status.past_count; ++before) {
      const PastActivity& past = status.past[static_cast<std::size_t>(before) - 1];
      ASSERT_EQ(past.index, k - before);  // 0, starting, is the first
      ASSERT_LE(past.since_ns, status.since_ns);
    }
  }
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
    for (std::int32_t k = 0; k < status.past_count; ++k) {
      ASSERT_EQ(status.past[static_cast<std::size_t>(k)].step, status.step - 1 - k);
    }
    ASSERT_GE(status.step, last);
    last = status.step;
  }
}

TEST(StatusPage, IsReadPatientlyAsSoonAsItCanBe) {
  StatusPage page;
  page.publish(7, Activity::optimizing, 3);
  const std::optional<RankStatus> status = page.try_patiently();
  ASSERT_TRUE(status.has_value());
  EXPECT_EQ(status->step, 7);
  EXPECT_EQ(status->index, 3);
}

}  // namespace
}  // namespace dualpipe
