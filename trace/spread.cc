#include "trace/spread.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <map>
#include <numeric>
#include <utility>
#include <vector>

#include "trace/slot_kind.h"
#include "trace/timeline.h"

namespace dualpipe {
namespace {

constexpr double tenth = 0.1;

// Requires: sorted.size() > 0.
double quantile(const std::vector<double>& sorted, double share) {
  const double place = share * static_cast<double>(sorted.size() - 1);
  const std::size_t below = static_cast<std::size_t>(place);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return std::lerp(sorted[below], sorted[above], place - static_cast<double>(below));
}

std::map<std::pair<int, SlotKind>, std::vector<double>> durations_of(const Timeline& timeline) {
  std::map<std::pair<int, SlotKind>, std::vector<double>> durations;
  for (const std::vector<Span>& spans : timeline.ranks) {
    for (const Span& span : spans) {
      durations[{span.slot.front().stage, kind_of(span.slot)}].push_back(
          static_cast<double>(span.duration().count()));
    }
  }
  return durations;
}

}  // namespace

Spread spread_of(std::vector<double> values) {
  if (values.empty()) {
    return {};
  }
  std::ranges::sort(values);
  const double count = static_cast<double>(values.size());
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / count;
  double squares = 0.0;
  for (const double value : values) {
    squares += (value - mean) * (value - mean);
  }
  return {.count = static_cast<int>(values.size()),
          .mean = mean,
          .deviation = values.size() < 2 ? 0.0 : std::sqrt(squares / (count - 1.0)),
          .low = quantile(values, tenth),
          .median = quantile(values, 0.5),
          .high = quantile(values, 1.0 - tenth)};
}

std::vector<SlotSpread> slot_spreads(const Timeline& timeline) {
  std::vector<SlotSpread> spreads;
  for (auto& [key, values] : durations_of(timeline)) {
    spreads.push_back(
        {.stage = key.first, .kind = key.second, .time = spread_of(std::move(values))});
  }
  return spreads;
}

double log_deviation(const std::vector<double>& ratios) {
  std::vector<double> logarithms;
  for (const double ratio : ratios) {
    if (ratio > 0.0) {
      logarithms.push_back(std::log(ratio));
    }
  }
  if (logarithms.size() < 2) {
    return 0.0;
  }
  const Spread spread = spread_of(std::move(logarithms));
  // The deciles of a normal distribution are so many deviations from its mean.
  constexpr double decile_deviations = 1.2815515655446004;
  return (spread.high - spread.low) / (2.0 * decile_deviations);
}

double slot_log_deviation(const Timeline& timeline) {
  std::vector<double> ratios;
  for (const auto& [key, values] : durations_of(timeline)) {
    const double median = spread_of(values).median;
    for (const double value : values) {
      if (median > 0.0) {
        ratios.push_back(value / median);
      }
    }
  }
  return log_deviation(ratios);
}

}  // namespace dualpipe
