// diff(): a predicted timeline against a measured one of the same schedule - step time, durations
// by kind of op and by rank, bubbles, and idle time by its causes.

#pragma once

#include <string>
#include <vector>

#include "costs/cost_model.h"
#include "trace/attribution.h"
#include "trace/metrics.h"
#include "trace/slot_kind.h"
#include "trace/timeline.h"

namespace dualpipe {

struct KindDifference {
  SlotKind kind = SlotKind::forward;
  int count = 0;           // slots of this kind
  Time predicted{};        // mean duration
  Time measured{};         // mean duration
  Time predicted_total{};  // of all slots together
  Time measured_total{};
};

struct RankDifference {
  std::vector<KindDifference> kinds;  // those that occur on the rank
  IdleCauses predicted;
  IdleCauses measured;
};

struct TimelineDiff {
  Metrics predicted;
  Metrics measured;
  std::vector<KindDifference> kinds;  // those that occur, in the order of SlotKind
  std::vector<RankDifference> ranks;
  // Why idle time could not be put down to causes, and all IdleCauses are zero; otherwise empty.
  std::string without_causes;

  // measured / predicted - 1; 0 when both are zero. How far the prediction was off.
  [[nodiscard]] double step_time_error() const;
};

// The causes of both are told by the costs that calibrate() finds in the predicted one: what the
// measurement took longer than these is jitter, or contention where it is a transfer. They cannot
// be told where the predicted timeline shows too little of a stage, or one of the two has no
// transfers. Throws Error (invalid_schedule) naming the first slot that differs when the two are
// not of the same schedule.
[[nodiscard]] TimelineDiff diff(const Timeline& predicted, const Timeline& measured);

// docs/formats.md.
[[nodiscard]] std::string to_json(const TimelineDiff& difference);

// "of,rank,name,count,predicted,measured": a line for the step time, and per rank one for every
// kind of slot (total durations), for what the optimizer and the slots keep busy, and for every
// cause of idle time. Nanoseconds; no count where nothing is counted.
[[nodiscard]] std::string to_csv(const TimelineDiff& difference);

}  // namespace dualpipe
