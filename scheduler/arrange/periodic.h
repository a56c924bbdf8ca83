// A periodic plan: microbatch k does on every rank what microbatch 0 did, k periods later. In such
// a plan no rank does two things at once if the ops of one microbatch do not collide modulo the
// period (modulo scheduling; Rau, 1981). The building blocks of V-Half and V-Min (Qi et al., 2024)
// are plans of this kind for ops of equal length; here they are made for the lengths there are.

#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "costs/cost_model.h"
#include "scheduler/arrange/tracks.h"

namespace dualpipe {

struct PeriodicPlan {
  Time period{};
  std::vector<Time> forward;  // [track]: when microbatch 0 starts it
  std::vector<Time> input;
  std::vector<Time> weight;
};

// The plan of this period in which a microbatch waits least on its way, among those that hold the
// limit; none if none was found. Looks at `width` partial plans at a time.
// Requires: tracks of one direction.
[[nodiscard]] std::optional<PeriodicPlan> find_periodic_plan(const Tracks& tracks, Time period,
                                                             int width);

// The most that each rank holds at the begin of one of its forwards, in the steady state.
[[nodiscard]] std::vector<std::int64_t> peaks_of(const Tracks& tracks, const PeriodicPlan& plan);

// Every rank's letters in the order of the plan.
[[nodiscard]] Words words_of(const Tracks& tracks, const PeriodicPlan& plan);

}  // namespace dualpipe
