// List scheduling: every rank, whenever it is free, runs the best letter that it can run now. What
// is best is a policy of a few numbers; families try many policies and keep what is fastest.

#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include "costs/cost_model.h"
#include "scheduler/arrange/tracks.h"

namespace dualpipe {

struct ListPolicy {
  enum class Forwards : std::uint8_t {
    later_stage,    // of the forwards that could run, that of the latest stage
    earlier_stage,  // of the earliest
    oldest,         // that of the lowest microbatch; ties as earlier_stage
    oldest_later,   // that of the lowest microbatch, a later stage being one microbatch ahead
    waiting,        // the one that has waited longest
  };
  static constexpr int unlimited = std::numeric_limits<int>::max();

  // Which letter comes first where several could run. Empty targets: the policy of `forwards` and
  // `inputs_first`. Otherwise the letter whose time in a periodic plan comes first; if `strict`, a
  // rank rather waits for that letter than run another forward or input half before it.
  bool inputs_first = true;
  Forwards forwards = Forwards::later_stage;
  std::vector<Time> forward_targets;  // [track]: of microbatch 0
  std::vector<Time> input_targets;    // [track]
  Time period{};                      // from one microbatch to the next
  enum class Strict : std::uint8_t {
    never,
    steady,  // from the rank's first input half to its last forward
    always,
    // From when a microbatch has come back to all of the rank's tracks until one of them has no
    // forward left. From then on what has the longest way before it comes first.
    returned,
  };
  Strict strict = Strict::never;

  // Most microbatches of a track between its forward and its input half. Empty: no limit.
  std::vector<int> in_flight_max;  // [track]
  // Until a track's first input half, an earlier stage of its rank leaves room for as many of its
  // forwards. Empty: for one.
  std::vector<int> reserved;  // [track]
  // A weight half runs in a gap that is at least this share of its time.
  int gap_percent = 100;
  // It also runs where waiting would make this rank the one that has been idle longest since its
  // first letter (ZB-V's rule).
  bool level_idle = false;
  // More weight halves than these are not left waiting, unless an input half can run.
  int weights_waiting_max = unlimited;
};

// The words that the policy makes; none where it comes to a stand-still.
// A forward is admitted only if there is room left for every later stage of its rank that has
// nothing in flight: otherwise the early stages could fill the memory that the first microbatch
// needs to come back.
[[nodiscard]] std::optional<Words> list_schedule(const Tracks& tracks, const ListPolicy& policy);

}  // namespace dualpipe
