// diff(): a predicted timeline against a measured one of the same schedule - step time, durations
// by kind of op, and bubbles by rank.

#pragma once

#include <string>
#include <vector>

#include "costs/cost_model.h"
#include "trace/metrics.h"
#include "trace/timeline.h"

namespace dualpipe {

struct KindDifference {
  std::string kind;  // F, B, I, W, or F&B for overlapped pairs
  int count = 0;     // slots of this kind
  Time predicted{};  // mean duration
  Time measured{};   // mean duration
};

struct TimelineDiff {
  Metrics predicted;
  Metrics measured;
  std::vector<KindDifference> kinds;  // those that occur, in the order above

  // measured / predicted - 1; 0 when both are zero. How far the prediction was off.
  [[nodiscard]] double step_time_error() const;
};

// Throws Error (invalid_schedule) naming the first slot that differs when the two are not of the
// same schedule.
[[nodiscard]] TimelineDiff diff(const Timeline& predicted, const Timeline& measured);

// {"schema_version":1,"step_time":{"predicted":..,"measured":..,"error":..},"kinds":[..],
// "ranks":[..]}; docs/formats.md.
[[nodiscard]] std::string to_json(const TimelineDiff& difference);

}  // namespace dualpipe
