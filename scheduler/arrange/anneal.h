// Improves words by small moves: a letter of the critical path goes a few places forward or back on
// its rank, and stays there if the step does not become much longer by it - less and less, the
// longer it has been going on (threshold accepting; Dueck and Scheuer, 1990). Whole numbers only,
// so that the same input gives the same words on every machine.

#pragma once

#include <cstdint>
#include <vector>

#include "costs/cost_model.h"
#include "scheduler/arrange/core.h"
#include "scheduler/arrange/tracks.h"
#include "scheduler/arrange/word_times.h"

namespace dualpipe {

// What arranging minimises: makespan and longest rank time together, with the means over
// the ranks to tell apart what is equal. Smaller is better.
struct Objective {
  int rank_time_weight = 1;  // of the longest rank time, against 1 of the makespan
  // Bounds on what is kept: what is gained in one of the two must not be lost in the other. On the
  // way, a step beyond them counts as much longer than it is.
  Time makespan_max = Time::max();
  Time rank_time_max = Time::max();
  Time unit{1};  // what times are counted in: more than 1 ns where steps take a quarter of an hour

  [[nodiscard]] std::int64_t operator()(const StepTimes& times) const;
  [[nodiscard]] bool within_bounds(const StepTimes& times) const {
    return times.makespan <= makespan_max && times.longest_rank_time <= rank_time_max;
  }
};

struct AnnealingOptions {
  Objective objective;
  std::int64_t letters = 0;  // to time, all in all: what bounds the effort
  std::uint64_t seed = 1;
  // Where not empty, a letter stays in its core, prologue or epilogue, and what happens to it in a
  // core happens in every copy.
  std::vector<Core> cores{};  // [rank]
};

// Requires: `words` can be timed. Returns words that are no worse.
[[nodiscard]] Words anneal(const Tracks& tracks, const Words& words,
                           const AnnealingOptions& options);

}  // namespace dualpipe
