// monte_carlo(): how long a step takes when nothing takes exactly as long as the cost model says -
// thousands of steps with durations drawn anew, and what they have in common.

#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "costs/cost_model.h"
#include "scheduler/program.h"
#include "sim/durations.h"
#include "sim/network.h"

namespace dualpipe {

struct MonteCarloOptions {
  int samples = 1000;  // steps
  std::uint64_t seed = 1;
  int threads = 1;
  NetworkModel network = {};  // how messages travel
  // Called now and then with the number of samples done, from any thread, one call at a time. No
  // more samples are begun once it returns false. May be empty.
  std::function<bool(int done)> progress = {};
};

// The value that a share of all steps stays below, and where that value lies with a confidence of
// 95 % given the samples, whatever the distribution: between two of them, as many places apart as
// the binomial distribution says in its normal approximation (Conover, "Practical Nonparametric
// Statistics", 1999, section 3.2). With few samples the bounds of an outer percentile are the
// smallest and the largest of them, with less confidence.
struct Percentile {
  int percent = 0;
  Time value{};
  Time low{};
  Time high{};

  bool operator==(const Percentile&) const = default;
};

// Requires: sorted.size() > 0, ascending; 0 < percent < 100.
[[nodiscard]] Percentile percentile_of(std::span<const Time> sorted, int percent);

inline constexpr std::array<int, 7> monte_carlo_percents{1, 5, 25, 50, 75, 95, 99};

struct MonteCarlo {
  int samples = 0;  // that the rest is about: fewer than asked for where progress said stop
  Time nominal_step_time{};  // with the durations of the cost model
  // Of the step time, in nanoseconds; the mean with half the width of its 95 % confidence interval.
  double mean = 0.0;
  double mean_error = 0.0;
  double deviation = 0.0;  // of one step; 0 with fewer than two samples
  Time shortest{};
  Time longest{};
  std::vector<Percentile> percentiles;     // one for each of monte_carlo_percents
  std::vector<double> rank_bubble_ratios;  // [rank]: 1 - busy / step time, mean over the steps
  double bubble_ratio = 0.0;               // mean of those

  bool operator==(const MonteCarlo&) const = default;
};

// A step is what simulate() says of its durations where messages travel eagerly and unshared, else
// what simulate_events() says, which takes longer; both with the step's tail, at its nominal times,
// where the costs have one. Equal arguments give equal results to the last bit, whatever the
// number of threads. Where it is stopped, the samples are the first so many.
// Throws what DurationSampler throws, and what `progress` throws. Requires: samples > 0, threads >
// 0; costs.stages has one entry per stage; a program that simulate_events() takes for the network.
[[nodiscard]] MonteCarlo monte_carlo(const Program& program, const CostModel& costs,
                                     const Variation& variation, const MonteCarloOptions& options);

}  // namespace dualpipe
