#include "runtime/status.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <thread>
#include <utility>

namespace dualpipe {
namespace {

constexpr int patient_attempts = 20;  // 1 ms apart

std::int64_t steady_now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace

StatusPage::StatusPage() {
  records_[0].since_ns = steady_now_ns();
}

// A sequence lock without fences, which ThreadSanitizer does not understand: the fields are stored
// with release, so a reader that sees one of them also sees that the version has become odd, and
// rejects what it read.
void StatusPage::publish(std::int64_t step, Activity activity, std::int32_t index) {
  const std::uint32_t version = version_.load(std::memory_order_relaxed);
  const std::uint64_t count = count_.load(std::memory_order_relaxed) + 1;
  Record& record = records_[count % records_.size()];
  version_.store(version + 1, std::memory_order_relaxed);
  record.step.store(step, std::memory_order_release);
  record.since_ns.store(steady_now_ns(), std::memory_order_release);
  record.activity.store(static_cast<std::int32_t>(activity), std::memory_order_release);
  record.index.store(index, std::memory_order_release);
  count_.store(count, std::memory_order_release);
  version_.store(version + 2, std::memory_order_release);
}

std::optional<RankStatus> StatusPage::try_read() const {
  const std::uint32_t version = version_.load(std::memory_order_acquire);
  const std::uint64_t count = count_.load(std::memory_order_acquire);
  const auto past = [&](std::uint64_t before) {
    const Record& record = records_[(count - before) % records_.size()];
    return PastActivity{
        .step = record.step.load(std::memory_order_acquire),
        .since_ns = record.since_ns.load(std::memory_order_acquire),
        .activity = static_cast<Activity>(record.activity.load(std::memory_order_acquire)),
        .index = record.index.load(std::memory_order_acquire)};
  };
  const PastActivity now = past(0);
  RankStatus status{
      .step = now.step, .since_ns = now.since_ns, .activity = now.activity, .index = now.index};
  status.past_count = static_cast<std::int32_t>(std::min<std::uint64_t>(count, status.past.size()));
  for (std::size_t k = 0; std::cmp_less(k, status.past_count); ++k) {
    status.past[k] = past(k + 1);
  }
  if (version % 2 != 0 || version_.load(std::memory_order_relaxed) != version) {
    return std::nullopt;
  }
  status.now_ns = steady_now_ns();
  return status;
}

std::optional<RankStatus> StatusPage::try_patiently() const {
  for (int attempt = 1; attempt < patient_attempts; ++attempt) {
    if (std::optional<RankStatus> status = try_read()) {
      return status;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return try_read();
}

RankStatus StatusPage::read() const {
  // A write takes nanoseconds, unless its thread is preempted in the middle: then let it go on.
  for (;; std::this_thread::yield()) {
    if (const std::optional<RankStatus> status = try_read()) {
      return *status;
    }
  }
}

}  // namespace dualpipe
