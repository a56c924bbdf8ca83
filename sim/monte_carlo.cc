#include "sim/monte_carlo.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "costs/check.h"
#include "costs/cost_model.h"
#include "scheduler/program.h"
#include "sim/durations.h"
#include "sim/events.h"
#include "sim/network.h"
#include "sim/simulate.h"
#include "sim/tail.h"
#include "sim/task_graph.h"
#include "trace/timeline.h"

namespace dualpipe {
namespace {

constexpr double normal_quantile = 1.959963984540054;  // of 97.5 %
constexpr std::int64_t block = 32;                     // samples that a thread takes at a time

std::size_t at(int index) {
  return static_cast<std::size_t>(index);
}

// One thread's way to time one step after another.
class Stepper {
 public:
  Stepper(const Program& program, const CostModel& costs, const NetworkModel& network,
          const TaskGraph& graph)
      : program_(program), costs_(costs), network_(network), graph_(graph), times_(graph.times()) {
    if (has_tail(costs) && network == NetworkModel{}) {
      timeline_ = simulate(program, costs, {.transfers = false});
    }
  }

  struct Step {
    Time time{};
    std::vector<Time> busy;  // [rank]
  };
  const Step& run(const StepDurations& durations) {
    add_slots(durations);
    if (network_ != NetworkModel{}) {
      read(simulate_events(program_, costs_, network_, durations));
      return step_;
    }
    graph_.run(durations, times_);
    step_.time = graph_.makespan(times_);
    if (has_tail(costs_)) {
      add_tail(durations);
    }
    return step_;
  }

 private:
  void add_slots(const StepDurations& durations) {
    step_.busy.assign(at(program_.pipeline().ranks()), Time{});
    const std::span<const std::size_t> first = graph_.first_slots();
    for (std::size_t rank = 0; rank < step_.busy.size(); ++rank) {
      for (std::size_t slot = first[rank]; slot < first[rank + 1]; ++slot) {
        step_.busy[rank] += durations.slots[slot];
      }
    }
  }

  void add_tail(const StepDurations& durations) {
    std::size_t slot = 0;
    for (std::vector<Span>& spans : timeline_.ranks) {
      for (Span& span : spans) {
        span.end = times_.ends[slot];
        span.begin = span.end - durations.slots[slot];
        ++slot;
      }
    }
    timeline_.tail.clear();
    append_tail(timeline_, costs_);
    read(timeline_);
  }

  // All but the slots.
  void read(const Timeline& timeline) {
    step_.time = makespan(timeline);
    for (const TailSpan& span : timeline.tail) {
      if (span.kind == TailKind::optimizer) {
        step_.busy[at(span.rank)] += span.end - span.begin;
      }
    }
  }

  const Program& program_;
  const CostModel& costs_;
  const NetworkModel& network_;
  const TaskGraph& graph_;
  TaskGraph::Times times_;
  Timeline timeline_;  // where steps have a tail and nothing contends
  Step step_;
};

// Threads take blocks in order, so that what is done when they stop is the first so many. What is
// added up is added within a block, and blocks in order: the same bits for any number of threads.
class Sampling {
 public:
  Sampling(const Program& program, const CostModel& costs, const Variation& variation,
           const MonteCarloOptions& options)
      : program_(program),
        costs_(costs),
        options_(options),
        graph_(program),
        sampler_(program, costs, variation),
        step_times_(at(options.samples)),
        bubbles_(static_cast<std::size_t>((options.samples + block - 1) / block)) {}

  // Returns how many samples are done.
  int run() {
    {
      std::vector<std::jthread> threads;
      for (int thread = 1; thread < options_.threads; ++thread) {
        threads.emplace_back([this] { work(); });
      }
      work();
    }
    if (error_) {
      std::rethrow_exception(error_);
    }
    return done_;
  }

  [[nodiscard]] std::span<const Time> step_times(int count) const {
    return std::span(step_times_).first(at(count));
  }

  // [rank]: sum over the first `count` samples.
  [[nodiscard]] std::vector<double> bubbles(int count) const {
    std::vector<double> sums(at(program_.pipeline().ranks()), 0.0);
    for (std::int64_t first = 0; first < count; first += block) {
      const std::vector<double>& of_block = bubbles_[static_cast<std::size_t>(first / block)];
      std::transform(sums.begin(), sums.end(), of_block.begin(), sums.begin(), std::plus<>());
    }
    return sums;
  }

  [[nodiscard]] Time nominal_step_time() const {
    return new_stepper().run(nominal_durations(program_, costs_)).time;
  }

 private:
  [[nodiscard]] Stepper new_stepper() const { return {program_, costs_, options_.network, graph_}; }

  void work() {
    try {
      Stepper stepper = new_stepper();
      StepDurations durations;
      while (!stopped_) {
        const std::int64_t first = next_.fetch_add(block);
        if (first >= options_.samples) {
          return;
        }
        const std::int64_t last = std::min<std::int64_t>(first + block, options_.samples);
        std::vector<double> bubbles(at(program_.pipeline().ranks()), 0.0);
        for (std::int64_t sample = first; sample < last; ++sample) {
          sampler_.draw(options_.seed, static_cast<std::uint64_t>(sample), durations);
          const Stepper::Step& step = stepper.run(durations);
          step_times_[static_cast<std::size_t>(sample)] = step.time;
          add_bubbles(step, bubbles);
        }
        bubbles_[static_cast<std::size_t>(first / block)] = std::move(bubbles);
        report(static_cast<int>(last - first));
      }
    } catch (...) {
      const std::scoped_lock lock(mutex_);
      error_ = error_ ? error_ : std::current_exception();
      stopped_ = true;
    }
  }

  static void add_bubbles(const Stepper::Step& step, std::vector<double>& bubbles) {
    for (std::size_t rank = 0; rank < bubbles.size() && step.time > Time{}; ++rank) {
      const Time idle = step.time - step.busy[rank];
      bubbles[rank] += static_cast<double>(idle.count()) / static_cast<double>(step.time.count());
    }
  }

  void report(int count) {
    const std::scoped_lock lock(mutex_);
    done_ += count;
    if (options_.progress && !stopped_ && !options_.progress(done_)) {
      stopped_ = true;
    }
  }

  const Program& program_;
  const CostModel& costs_;
  const MonteCarloOptions& options_;
  TaskGraph graph_;
  DurationSampler sampler_;
  std::vector<Time> step_times_;              // [sample]
  std::vector<std::vector<double>> bubbles_;  // [block][rank]: sums
  std::atomic<std::int64_t> next_ = 0;
  std::atomic<bool> stopped_ = false;
  std::mutex mutex_;  // of what follows
  int done_ = 0;
  std::exception_ptr error_;
};

void add_moments(std::span<const Time> step_times, MonteCarlo& result) {
  const double count = static_cast<double>(step_times.size());
  for (const Time time : step_times) {
    result.mean += static_cast<double>(time.count());
  }
  result.mean /= count;
  if (step_times.size() < 2) {
    return;
  }
  double squares = 0.0;
  for (const Time time : step_times) {
    const double difference = static_cast<double>(time.count()) - result.mean;
    squares += difference * difference;
  }
  result.deviation = std::sqrt(squares / (count - 1.0));
  result.mean_error = normal_quantile * result.deviation / std::sqrt(count);
}

}  // namespace

Percentile percentile_of(std::span<const Time> sorted, int percent) {
  CHECK(!sorted.empty() && percent > 0 && percent < 100);
  const std::int64_t count = static_cast<std::int64_t>(sorted.size());
  const double share = percent / 100.0;
  const double middle = static_cast<double>(count) * share;
  const double width = normal_quantile * std::sqrt(middle * (1.0 - share));
  const auto at_place = [&](std::int64_t place) {  // counted from 1
    return sorted[static_cast<std::size_t>(std::clamp<std::int64_t>(place, 1, count) - 1)];
  };
  return {.percent = percent,
          .value = at_place((count * percent + 99) / 100),
          .low = at_place(static_cast<std::int64_t>(std::floor(middle - width))),
          .high = at_place(static_cast<std::int64_t>(std::ceil(middle + width)) + 1)};
}

MonteCarlo monte_carlo(const Program& program, const CostModel& costs, const Variation& variation,
                       const MonteCarloOptions& options) {
  CHECK(options.samples > 0 && options.threads > 0);
  Sampling sampling(program, costs, variation, options);
  MonteCarlo result;
  result.samples = sampling.run();
  CHECK(result.samples > 0);
  result.nominal_step_time = sampling.nominal_step_time();
  const std::span<const Time> step_times = sampling.step_times(result.samples);
  add_moments(step_times, result);
  std::vector<Time> sorted(step_times.begin(), step_times.end());
  std::sort(sorted.begin(), sorted.end());
  result.shortest = sorted.front();
  result.longest = sorted.back();
  for (const int percent : monte_carlo_percents) {
    result.percentiles.push_back(percentile_of(sorted, percent));
  }
  result.rank_bubble_ratios = sampling.bubbles(result.samples);
  for (double& ratio : result.rank_bubble_ratios) {
    ratio /= result.samples;
    result.bubble_ratio += ratio;
  }
  result.bubble_ratio /= program.pipeline().ranks();
  return result;
}

}  // namespace dualpipe
