// How measured times are distributed: of one set of them, and of the slots of every stage and kind.

#pragma once

#include <vector>

#include "trace/slot_kind.h"
#include "trace/timeline.h"

namespace dualpipe {

// Of times in nanoseconds. Quantiles lie between two of the values in proportion (Hyndman and Fan,
// "Sample Quantiles in Statistical Packages", The American Statistician 50(4), 1996, definition 7).
struct Spread {
  int count = 0;
  double mean = 0.0;
  double deviation = 0.0;  // standard, of one value (n - 1); 0 with fewer than two
  double low = 0.0;        // the lower decile: a tenth of the values are below
  double median = 0.0;
  double high = 0.0;  // the upper decile

  bool operator==(const Spread&) const = default;
};

// All zero where there are no values.
[[nodiscard]] Spread spread_of(std::vector<double> values);

struct SlotSpread {
  int stage = 0;  // of a pair, that of its forward
  SlotKind kind = SlotKind::forward;
  Spread time;

  bool operator==(const SlotSpread&) const = default;
};

// Of the durations of all slots of a stage and kind, on all its ranks; by stage, then kind. Those
// that do not occur have no entry.
[[nodiscard]] std::vector<SlotSpread> slot_spreads(const Timeline& timeline);

// The standard deviation of the logarithm of `ratios`, as if it was normally distributed: from the
// deciles, which a few values far out do not move. 0 with fewer than two. Ratios of 0 are left out.
[[nodiscard]] double log_deviation(const std::vector<double>& ratios);

// Of what every slot took, over the median of its stage and kind.
[[nodiscard]] double slot_log_deviation(const Timeline& timeline);

}  // namespace dualpipe
