// Why ranks were idle: every idle nanosecond of every rank is put down to one cause.
//
// A rank is idle before a slot because what the slot reads had not arrived. The chain that ends
// with its begin (critical_path.h) says what was happening instead, piece by piece, back to where
// the rank had nothing to do; and every piece has a cause of its own. Before a rank's first slot it
// is the filling of the pipeline, after its last slot the chain that ends last is its emptying.
//
// Of a slot or transfer that the idle time covers in part, what made it longer than it had to be
// counts first: without that excess it would have ended earlier and the idle time been shorter by
// as much.

#pragma once

#include <array>
#include <string_view>
#include <vector>

#include "costs/cost_model.h"
#include "trace/critical_path.h"
#include "trace/timeline.h"

namespace dualpipe {

struct IdleCauses {
  Time warm_up{};      // other ranks computed before this one's first slot could begin
  Time cool_down{};    // they computed after its last
  Time dependency{};   // they computed what its next slot reads
  Time transfer{};     // it travelled, for as long as an uncontended transfer takes
  Time contention{};   // it travelled or waited for longer than that
  Time imbalance{};    // they computed stages that cost more than the mean stage
  Time jitter{};       // they computed for longer than the costs say
  Time barrier{};      // no rank had slots left, and gradients and parameters were agreed upon
  Time unexplained{};  // nothing that the timeline shows; zero where it was simulated

  [[nodiscard]] Time total() const;
  IdleCauses& operator+=(const IdleCauses& other);
  bool operator==(const IdleCauses&) const = default;
};

struct IdleCause {
  std::string_view name;
  Time IdleCauses::* time;
};
inline constexpr std::array<IdleCause, 9> idle_causes{{
    {"warm_up", &IdleCauses::warm_up},
    {"cool_down", &IdleCauses::cool_down},
    {"dependency", &IdleCauses::dependency},
    {"transfer", &IdleCauses::transfer},
    {"contention", &IdleCauses::contention},
    {"imbalance", &IdleCauses::imbalance},
    {"jitter", &IdleCauses::jitter},
    {"barrier", &IdleCauses::barrier},
    {"unexplained", &IdleCauses::unexplained},
}};

// [rank]. Their total is RankMetrics::idle to the nanosecond, and none is negative. `costs` are
// what slots and transfers should have taken: of a measured timeline, those that calibrate() gives.
// A rank without slots cools down all the time.
// Requires: one entry of costs.stages per stage, and what Chains requires. Throws what it throws.
[[nodiscard]] std::vector<IdleCauses> attribute_idle(const Timeline& timeline,
                                                     const CostModel& costs);

}  // namespace dualpipe
