// Random valid schedules: random placements of one or two directions, and any order of execution
// that is possible, with halves, whole backwards and overlapped pairs mixed.

#pragma once

#include <random>

#include "costs/cost_model.h"
#include "scheduler/schedule.h"

namespace dualpipe {

// At most so many of each; the numbers themselves are drawn.
struct Extents {
  int ranks = 4;
  int stages = 5;
  int microbatches = 5;
};

// Complete, ordered, every channel's receives in the order of its sends, and free of deadlock where
// transports buffer enough: the order is that of a run. Equal states of `random` give equal
// results.
[[nodiscard]] Schedule random_schedule(std::mt19937& random, const Extents& extents);

// Every stage has costs of its own, from 0 to 100 ns; p2p too.
[[nodiscard]] CostModel random_costs(std::mt19937& random, int stages);

// From `low` to `high`.
[[nodiscard]] int draw(std::mt19937& random, int low, int high);

}  // namespace dualpipe
