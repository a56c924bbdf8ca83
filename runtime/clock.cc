#include "runtime/clock.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <system_error>

#include "costs/cost_model.h"
#include "runtime/checksum.h"
#include "runtime/collectives.h"
#include "runtime/control_message.h"
#include "runtime/transport.h"
#include "runtime/watchdog.h"
#include "trace/timeline.h"

namespace dualpipe {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int rounds = 16;

// One reading of a clock on its way to another rank.
using ClockMessage = ControlMessage<std::int64_t>;

struct Round {
  int peer = 0;
  int number = 0;
};

void send(const BoundedWait& waits, const Round& round, std::int64_t value) {
  Transport& transport = waits.transport();
  publish_peer(transport, round.peer);
  ClockMessage message(transport.rank(), round.peer, round.number);
  message.write(value);
  waits.wait(transport.post_send(round.peer, MessageClass::control, message.message()));
}

std::int64_t receive(const BoundedWait& waits, const Round& round) {
  Transport& transport = waits.transport();
  publish_peer(transport, round.peer);
  ClockMessage message(round.peer, transport.rank(), round.number);
  waits.wait(transport.post_receive(round.peer, MessageClass::control, message.message()));
  return message.read();
}

// What rank 0 answers instead of its time.
constexpr std::int64_t same_clock = -1;

// Every round asks with the peer's identity.
void serve(const BoundedWait& waits, int peer, std::uint64_t identity) {
  for (int number = 0; number < rounds; ++number) {
    const Round round{.peer = peer, .number = number};
    const bool is_same =
        std::bit_cast<std::uint64_t>(receive(waits, round)) == identity && identity != 0;
    send(waits, round, is_same ? same_clock : Clock::now().time_since_epoch().count());
  }
}

}  // namespace

std::uint64_t clock_identity() {
  std::string boot;
  std::error_code error;
  const std::string time = std::filesystem::read_symlink("/proc/self/ns/time", error).string();
  std::getline(std::ifstream("/proc/sys/kernel/random/boot_id"), boot);
  if (error || boot.empty()) {
    return 0;
  }
  const std::string identity = boot + " " + time;
  return checksum_of(std::as_bytes(std::span(identity)));
}

ClockOffset measure_clock_offset(const BoundedWait& waits, std::uint64_t identity) {
  const Transport& transport = waits.transport();
  if (transport.rank() == 0) {
    for (int peer = 1; peer < transport.ranks(); ++peer) {
      serve(waits, peer, identity);
    }
    return {.time = Clock::now(), .offset = {}, .uncertainty = {}};
  }
  ClockOffset best{.time = {}, .offset = {}, .uncertainty = std::chrono::nanoseconds::max()};
  for (int number = 0; number < rounds; ++number) {
    const Round round{.peer = 0, .number = number};
    const Clock::time_point asked = Clock::now();
    send(waits, round, std::bit_cast<std::int64_t>(identity));
    const std::int64_t answer = receive(waits, round);
    const Clock::time_point answered = Clock::now();
    if (answer == same_clock) {
      best = {.time = answered, .offset = {}, .uncertainty = {}};
      continue;
    }
    const std::chrono::nanoseconds theirs(answer);
    const std::chrono::nanoseconds half = (answered - asked) / 2;
    if (half < best.uncertainty) {
      best = {.time = asked + half,
              .offset = theirs - (asked + half).time_since_epoch(),
              .uncertainty = half};
    }
  }
  return best;
}

Time ClockLine::on_first(Clock::time_point time) const {
  const double between = static_cast<double>((end.time - begin.time).count());
  const double passed = static_cast<double>((time - begin.time).count());
  const double drift = static_cast<double>((end.offset - begin.offset).count());
  const std::int64_t drifted = between > 0.0 ? std::llround(drift * passed / between) : 0;
  return time.time_since_epoch() + begin.offset + Time(drifted);
}

RankClock ClockLine::summary() const {
  return {.offset = begin.offset,
          .drift = end.offset - begin.offset,
          .uncertainty = std::max(begin.uncertainty, end.uncertainty)};
}

}  // namespace dualpipe
