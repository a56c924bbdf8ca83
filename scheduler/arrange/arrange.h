// arrange(): the cost-aware families' common engine. It tries the published orders it is given,
// list schedules under many policies, and periodic plans; anneals the best of them, first their
// cores, then every letter; and returns what is fastest. So a family is never slower than its best
// published order that fits.

#pragma once

#include <cstdint>
#include <vector>

#include "scheduler/arrange/anneal.h"
#include "scheduler/arrange/periodic.h"
#include "scheduler/arrange/tracks.h"

namespace dualpipe {

// Where to begin: published orders, and periodic plans in a time unit of their own, which give the
// order of a list schedule. The most promising plan comes first: not all may be tried.
struct Seeds {
  std::vector<Words> words;
  std::vector<PeriodicPlan> plans;
};

struct ArrangeOptions {
  Objective objective;
  std::int64_t effort = 0;      // letters to time, all in all
  std::int64_t spent = 0;       // of it, on the seeds
  bool periodic_plans = false;  // look for what can be repeated: worth it where memory is tight
};

// Deterministic. Neither makespan nor longest rank time exceeds that of the seed, among those that
// hold the limit, of which the longest rank is shortest.
// Requires: tracks of one direction; tracks.limit >= least_limit(tracks).
[[nodiscard]] Words arrange(const Tracks& tracks, const Seeds& seeds,
                            const ArrangeOptions& options);

}  // namespace dualpipe
