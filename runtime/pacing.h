// How often to look for something that does not announce itself: at once while it costs nobody
// anything, then at growing intervals. Pure arithmetic on times; whoever asks does the sleeping.

#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace dualpipe {

// How long to leave MPI alone after a poll that found nothing, if no bell is rung before.
class Pacing {
 public:
  using Time = std::chrono::steady_clock::time_point;

  static constexpr int polls_spinning = 2000;
  static constexpr int polls_yielding = 2000;
  static constexpr std::chrono::microseconds pause_min{30};
  static constexpr std::chrono::microseconds pause_max_remote{150};  // nothing rings a bell
  static constexpr std::chrono::microseconds pause_max{1000};
  static constexpr std::int64_t bytes_per_us = 1000;  // a low guess of what shared memory moves

  // cores_to_spare: a thread that spins takes no time from anybody.
  explicit Pacing(bool cores_to_spare = false) : cores_to_spare_(cores_to_spare) {}

  // Something has happened, and more may follow until `bytes` have been moved.
  void restart(Time now, std::size_t bytes);
  // Nothing has happened. Zero: poll again at once, perhaps after a yield. remote: a rank of
  // another host may be sending.
  [[nodiscard]] std::chrono::microseconds pause(Time now, bool remote);
  [[nodiscard]] bool yields() const { return polls_ > polls_spinning; }

 private:
  bool cores_to_spare_;
  int polls_ = 0;
  Time idle_since_;
};

}  // namespace dualpipe
