// Rank clocks: how far the steady clock of each rank is from rank 0's, so that spans measured on
// different hosts can be laid on one time axis.

#pragma once

#include <chrono>

#include "runtime/watchdog.h"

namespace dualpipe {

struct ClockOffset {
  std::chrono::nanoseconds offset{};       // to be added to this rank's clock to get rank 0's
  std::chrono::nanoseconds uncertainty{};  // half the shortest round trip
};

// By ping-pong with rank 0, keeping the round with the shortest trip (Cristian's algorithm): the
// error is at most half of that trip. Zero at rank 0. All ranks call it together. Publishes
// `synchronizing` and the peer, for the watchdog.
[[nodiscard]] ClockOffset measure_clock_offset(const BoundedWait& waits);

}  // namespace dualpipe
