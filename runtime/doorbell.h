// A doorbell: one thread sleeps, others wake it. It may lie in memory that processes of one host
// share, so that a rank can tell another that a message is on its way, and nobody has to look all
// the time.

#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

namespace dualpipe {

class Doorbell {
 public:
  // Any thread that can reach the memory. Cheap while nobody sleeps.
  void ring();

  // How often it has been rung, modulo 2^32.
  [[nodiscard]] std::uint32_t rings() const { return rings_.load(); }

  // Returns once it has been rung more often than `seen`, or after `time`, or for no reason.
  // By one thread at a time.
  void sleep(std::uint32_t seen, std::chrono::microseconds time);

 private:
  std::atomic<std::uint32_t> rings_{0};
  std::atomic<bool> asleep_{false};
  static_assert(std::atomic<std::uint32_t>::is_always_lock_free);
};

}  // namespace dualpipe
