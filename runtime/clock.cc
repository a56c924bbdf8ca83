#include "runtime/clock.h"

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "runtime/transport.h"
#include "runtime/watchdog.h"

namespace dualpipe {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int rounds = 16;
using Message = std::array<std::byte, sizeof(std::int64_t)>;

void send(const BoundedWait& waits, int peer, std::int64_t value) {
  Message message{};
  std::memcpy(message.data(), &value, sizeof(value));
  waits.wait(waits.transport().post_send(peer, MessageClass::control, message));
}

std::int64_t receive(const BoundedWait& waits, int peer) {
  Message message{};
  waits.wait(waits.transport().post_receive(peer, MessageClass::control, message));
  std::int64_t value = 0;
  std::memcpy(&value, message.data(), sizeof(value));
  return value;
}

void serve(const BoundedWait& waits, int peer) {
  for (int round = 0; round < rounds; ++round) {
    static_cast<void>(receive(waits, peer));
    send(waits, peer, Clock::now().time_since_epoch().count());
  }
}

}  // namespace

ClockOffset measure_clock_offset(const BoundedWait& waits) {
  const Transport& transport = waits.transport();
  if (transport.rank() == 0) {
    for (int peer = 1; peer < transport.ranks(); ++peer) {
      serve(waits, peer);
    }
    return {};
  }
  ClockOffset best{.offset = {}, .uncertainty = std::chrono::nanoseconds::max()};
  for (int round = 0; round < rounds; ++round) {
    const Clock::time_point asked = Clock::now();
    send(waits, 0, round);
    const std::chrono::nanoseconds theirs(receive(waits, 0));
    const Clock::time_point answered = Clock::now();
    const std::chrono::nanoseconds half = (answered - asked) / 2;
    if (half < best.uncertainty) {
      best = {.offset = theirs - (asked + half).time_since_epoch(), .uncertainty = half};
    }
  }
  return best;
}

}  // namespace dualpipe
