#include "runtime/status.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>

namespace dualpipe {
namespace {

std::int64_t steady_now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace

StatusPage::StatusPage() : since_ns_(steady_now_ns()) {}

// A sequence lock without fences, which ThreadSanitizer does not understand: the fields are stored
// with release, so a reader that sees one of them also sees that the version has become odd, and
// rejects what it read.
void StatusPage::publish(std::int64_t step, Activity activity, std::int32_t index) {
  const std::uint32_t version = version_.load(std::memory_order_relaxed);
  version_.store(version + 1, std::memory_order_relaxed);
  step_.store(step, std::memory_order_release);
  since_ns_.store(steady_now_ns(), std::memory_order_release);
  activity_.store(static_cast<std::int32_t>(activity), std::memory_order_release);
  index_.store(index, std::memory_order_release);
  version_.store(version + 2, std::memory_order_release);
}

RankStatus StatusPage::read() const {
  // A write takes nanoseconds, unless its thread is preempted in the middle: then let it go on.
  for (;; std::this_thread::yield()) {
    const std::uint32_t version = version_.load(std::memory_order_acquire);
    RankStatus status;
    status.step = step_.load(std::memory_order_acquire);
    status.since_ns = since_ns_.load(std::memory_order_acquire);
    status.activity = static_cast<Activity>(activity_.load(std::memory_order_acquire));
    status.index = index_.load(std::memory_order_acquire);
    if (version % 2 == 0 && version_.load(std::memory_order_relaxed) == version) {
      status.now_ns = steady_now_ns();
      return status;
    }
  }
}

}  // namespace dualpipe
