// Rank clocks: how far the steady clock of each rank is from rank 0's, so that spans measured on
// different hosts can be laid on one time axis.

#pragma once

#include <chrono>
#include <cstdint>

#include "costs/cost_model.h"
#include "runtime/watchdog.h"
#include "trace/timeline.h"

namespace dualpipe {

struct ClockOffset {
  std::chrono::steady_clock::time_point time;  // when it was measured, by this rank's clock
  std::chrono::nanoseconds offset{};           // to be added to this rank's clock to get rank 0's
  std::chrono::nanoseconds uncertainty{};      // half the shortest round trip
};

// Which steady clock this process reads: equal in all processes of one host, of the running kernel
// and its time namespace (time_namespaces(7)), which are what a clock of Linux counts from. 0 where
// the host does not tell.
[[nodiscard]] std::uint64_t clock_identity();

// By ping-pong with rank 0, keeping the round with the shortest trip (Cristian's algorithm): the
// error is at most half of that trip. Exactly zero at rank 0, and where both ranks say that they
// read the same clock: there a measurement would find only how late processes wake. All ranks call
// it together. Publishes `synchronizing` and the peer, for the watchdog.
[[nodiscard]] ClockOffset measure_clock_offset(const BoundedWait& waits,
                                               std::uint64_t identity = clock_identity());

// Two measurements, and between them the straight line: clocks of two hosts run at slightly
// different rates, some microseconds a second apart. Trivially copyable, to travel.
struct ClockLine {
  ClockOffset begin;
  ClockOffset end;  // no earlier than `begin`

  // Rank 0's clock when this rank's showed `time`, since its epoch. No further off than the larger
  // of the two uncertainties for a time between the two, if the rates do not change.
  [[nodiscard]] Time on_first(std::chrono::steady_clock::time_point time) const;
  [[nodiscard]] RankClock summary() const;
};

}  // namespace dualpipe
