#include "runtime/pacing.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace dualpipe {

void Pacing::restart(Time now, std::size_t bytes) {
  polls_ = 0;
  idle_since_ = now + std::chrono::microseconds(static_cast<std::int64_t>(bytes) / bytes_per_us);
}

// The pause grows with the time already idle, so that a message is noticed late by a small part of
// what was waited for anyway. A large message that is being moved in many small parts, of which MPI
// says nothing, does not count as idle.
std::chrono::microseconds Pacing::pause(Time now, bool remote) {
  if (cores_to_spare_ && polls_ < polls_spinning + polls_yielding) {
    ++polls_;
    return std::chrono::microseconds(0);
  }
  const auto idle = std::chrono::duration_cast<std::chrono::microseconds>(now - idle_since_);
  return std::clamp(idle / 8, pause_min, remote ? pause_max_remote : pause_max);
}

}  // namespace dualpipe
