#include "sim/monte_carlo.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/cost_model.h"
#include "costs/error.h"
#include "scheduler/compile.h"
#include "scheduler/generate.h"
#include "scheduler/program.h"
#include "sim/durations.h"
#include "sim/events.h"
#include "sim/network.h"
#include "sim/simulate.h"
#include "tests/support/refusal.h"
#include "tests/support/schedules.h"
#include "tests/support/simulated.h"
#include "tests/support/tick_by_tick.h"
#include "trace/metrics.h"
#include "trace/timeline.h"

namespace dualpipe {
namespace {

using testing::HasSubstr;

const Variation jitter{.slot_sigma = 0.1, .transfer_sigma = 0.2, .microbatch_sigma = 0.1};

Program small_program() {
  return compile_or_throw(
      quickly_generated(find_family("dualpipe"), {.ranks = 4, .microbatches = 10}));
}

CostModel small_costs(const Program& program) {
  return equal_costs(
      program.pipeline().stages(),
      stage_costs({.forward = 10'000, .input = 11'000, .weight = 9'000, .overlapped = 27'000}),
      Time(500));
}

TEST(MonteCarlo, WithoutVariationEveryStepIsTheNominalOne) {
  const Program program = small_program();
  const CostModel costs = small_costs(program);
  const Metrics expected = measure(simulate(program, costs));
  const MonteCarlo result = monte_carlo(program, costs, {}, {.samples = 10});
  EXPECT_EQ(result.samples, 10);
  EXPECT_EQ(result.nominal_step_time, expected.step_time);
  EXPECT_EQ(result.shortest, expected.step_time);
  EXPECT_EQ(result.longest, expected.step_time);
  EXPECT_EQ(result.mean, static_cast<double>(expected.step_time.count()));
  EXPECT_EQ(result.deviation, 0.0);
  for (const Percentile& percentile : result.percentiles) {
    EXPECT_EQ(percentile.value, expected.step_time);
  }
  for (std::size_t rank = 0; rank < expected.ranks.size(); ++rank) {
    EXPECT_NEAR(result.rank_bubble_ratios[rank], expected.ranks[rank].bubble_ratio, 1e-12);
  }
  EXPECT_NEAR(result.bubble_ratio, expected.bubble_ratio, 1e-12);
}

// Step by step through simulate() and measure(); with a tail as well.
TEST(MonteCarlo, IsWhatSimulateSaysOfEverySample) {
  const Program program = small_program();
  for (const bool with_tail : {false, true}) {
    CostModel costs = small_costs(program);
    if (with_tail) {
      costs.stages[1].tail = {.gradient_reduce = Time(4000), .optimizer = Time(3000)};
      costs.gradient_norm = Time(700);
    }
    const DurationSampler sampler(program, costs, jitter);
    std::vector<Time> steps;
    double bubbles = 0.0;
    for (std::uint64_t sample = 0; sample < 100; ++sample) {
      const Metrics metrics = measure(simulate(program, costs, sampler.draw(5, sample)));
      steps.push_back(metrics.step_time);
      bubbles += metrics.ranks[2].bubble_ratio;
    }
    std::sort(steps.begin(), steps.end());
    const MonteCarlo result = monte_carlo(program, costs, jitter, {.samples = 100, .seed = 5});
    EXPECT_EQ(result.shortest, steps.front());
    EXPECT_EQ(result.longest, steps.back());
    EXPECT_EQ(result.percentiles[3].value, steps[49]);  // 50 %
    EXPECT_NEAR(result.rank_bubble_ratios[2], bubbles / 100, 1e-12);
    const double sum = std::accumulate(
        steps.begin(), steps.end(), 0.0,
        [](double total, Time step) { return total + static_cast<double>(step.count()); });
    EXPECT_NEAR(result.mean, sum / 100, 1e-6);
    EXPECT_EQ(result.nominal_step_time, makespan(simulate(program, costs)));
  }
}

// Every transfer is bytes alone, 600 ns of them.
CostModel costs_of_bytes(const Program& program) {
  CostModel costs = small_costs(program);
  costs.p2p = costs.p2p_in_node = Time(600);
  costs.p2p_latency = costs.p2p_in_node_latency = Time{};
  return costs;
}

TEST(MonteCarlo, WithoutVariationEveryStepOnASharedNetworkIsTheEventEngines) {
  for (const NetworkModel& network :
       {NetworkModel{.sharing = NetworkModel::Sharing::nic},
        NetworkModel{.sharing = NetworkModel::Sharing::pair, .blocking = true},
        NetworkModel{.mode = NetworkModel::Mode::rendezvous}}) {
    const Compilation compilation = compile_for(
        network.mode, quickly_generated(find_family("1f1b"), {.ranks = 4, .microbatches = 10}));
    ASSERT_TRUE(compilation.program);
    const Program& program = *compilation.program;
    CostModel costs = costs_of_bytes(program);
    costs.stages[1].tail = {.gradient_reduce = Time(4000), .optimizer = Time(3000)};
    const Metrics expected = measure(simulate_events(program, costs, network));
    const MonteCarlo result = monte_carlo(program, costs, {}, {.samples = 3, .network = network});
    EXPECT_EQ(result.nominal_step_time, expected.step_time);
    EXPECT_EQ(result.shortest, expected.step_time);
    EXPECT_EQ(result.longest, expected.step_time);
    EXPECT_NEAR(result.bubble_ratio, expected.bubble_ratio, 1e-12);
  }
}

// Step by step, nanosecond by nanosecond.
TEST(MonteCarlo, OnSharedLinksIsWhatBruteForceSaysOfEverySample) {
  const Program program =
      compile_or_throw(quickly_generated(find_family("dualpipe"), {.ranks = 2, .microbatches = 4}));
  CostModel costs = equal_costs(
      2, stage_costs({.forward = 30, .input = 33, .weight = 27, .overlapped = 80}), Time(20));
  costs.p2p_latency = costs.p2p_in_node_latency = Time{};
  const Variation variation{.slot_sigma = 0.2, .transfer_sigma = 0.3};
  const DurationSampler sampler(program, costs, variation);
  for (const NetworkModel::Sharing sharing :
       {NetworkModel::Sharing::pair, NetworkModel::Sharing::nic}) {
    const NetworkModel network{.sharing = sharing};
    for (std::uint64_t seed = 1; seed <= 5; ++seed) {
      std::vector<Time> steps;
      double bubbles = 0.0;
      for (std::uint64_t sample = 0; sample < 20; ++sample) {
        const Metrics metrics =
            measure(tick_by_tick(program, costs, network, sampler.draw(seed, sample)));
        steps.push_back(metrics.step_time);
        bubbles += metrics.bubble_ratio;
      }
      std::sort(steps.begin(), steps.end());
      const MonteCarlo result =
          monte_carlo(program, costs, variation, {.samples = 20, .seed = seed, .network = network});
      EXPECT_EQ(result.shortest, steps.front()) << seed;
      EXPECT_EQ(result.longest, steps.back()) << seed;
      EXPECT_EQ(result.percentiles[3].value, steps[9]) << seed;  // 50 %
      EXPECT_NEAR(result.bubble_ratio, bubbles / 20, 1e-12) << seed;
    }
  }
}

TEST(MonteCarlo, OnSharedLinksIsTheSameToTheLastBitForAnyNumberOfThreads) {
  const Program program = small_program();
  const CostModel costs = costs_of_bytes(program);
  const NetworkModel network{.sharing = NetworkModel::Sharing::nic};
  const MonteCarlo one =
      monte_carlo(program, costs, jitter, {.samples = 100, .seed = 3, .network = network});
  EXPECT_NE(one, monte_carlo(program, costs, jitter, {.samples = 100, .seed = 3}));
  for (const int threads : {2, 5}) {
    EXPECT_EQ(monte_carlo(program, costs, jitter,
                          {.samples = 100, .seed = 3, .threads = threads, .network = network}),
              one)
        << threads;
  }
}

TEST(MonteCarlo, IsTheSameToTheLastBitForAnyNumberOfThreads) {
  const Program program = small_program();
  const CostModel costs = small_costs(program);
  const MonteCarlo one = monte_carlo(program, costs, jitter, {.samples = 500, .seed = 3});
  for (const int threads : {2, 3, 7}) {
    EXPECT_EQ(monte_carlo(program, costs, jitter, {.samples = 500, .seed = 3, .threads = threads}),
              one)
        << threads;
  }
  EXPECT_NE(monte_carlo(program, costs, jitter, {.samples = 500, .seed = 4}), one);
}

// A single rank runs one slot after another: the sum of n independent slots of mean t and
// deviation t sqrt(exp(sigma^2) - 1) each.
TEST(MonteCarlo, OfOneRankIsTheSumOfItsSlots) {
  const Program program =
      compile_or_throw(quickly_generated(find_family("1f1b"), {.ranks = 1, .microbatches = 50}));
  const CostModel costs =
      equal_costs(1, stage_costs({.forward = 20'000, .input = 10'000, .weight = 10'000}));
  const MonteCarlo result =
      monte_carlo(program, costs, {.slot_sigma = 0.3}, {.samples = 4000, .threads = 2});
  const double deviation = std::sqrt(100.0 * (std::exp(0.09) - 1.0)) * 20'000.0;
  EXPECT_NEAR(result.deviation, deviation, 4.0 * deviation / std::sqrt(2.0 * 4000));
  EXPECT_NEAR(result.mean, 2'000'000.0, 4.0 * deviation / std::sqrt(4000.0));
  EXPECT_NEAR(result.mean_error, 1.96 * deviation / std::sqrt(4000.0), 0.05 * result.mean_error);
  EXPECT_NEAR(static_cast<double>(result.percentiles[5].value.count()),
              2'000'000.0 + 1.645 * deviation, 0.15 * deviation);
  EXPECT_EQ(result.bubble_ratio, 0.0);
}

// P(place(low) <= B and B < place(high)) of the binomial distribution, added up exactly.
TEST(PercentileOf, BoundsHaveTheConfidenceTheyClaim) {
  for (const int count : {100, 1000, 10'000}) {
    std::vector<Time> sorted;
    for (int value = 1; value <= count; ++value) {
      sorted.emplace_back(value);  // so that a value is its place
    }
    for (const int percent : {5, 25, 50, 75, 95}) {
      const Percentile percentile = percentile_of(sorted, percent);
      const double p = percent / 100.0;
      double inside = 0.0;
      for (std::int64_t below = percentile.low.count(); below < percentile.high.count(); ++below) {
        const double k = static_cast<double>(below);
        inside += std::exp(std::lgamma(count + 1.0) - std::lgamma(k + 1.0) -
                           std::lgamma(count - k + 1.0) + k * std::log(p) +
                           (count - k) * std::log(1.0 - p));
      }
      EXPECT_GT(inside, 0.948) << count << " samples, " << percent << " %";
      EXPECT_LT(inside, 0.985) << count << " samples, " << percent << " %";
      EXPECT_EQ(percentile.value, Time(count * percent / 100));
    }
  }
}

TEST(PercentileOf, FewSamplesBoundAllTheySay) {
  const std::vector<Time> sorted{Time(3), Time(5), Time(9)};
  EXPECT_EQ(percentile_of(sorted, 99),
            (Percentile{.percent = 99, .value = Time(9), .low = Time(5), .high = Time(9)}));
  EXPECT_EQ(percentile_of(sorted, 1).low, Time(3));
}

TEST(MonteCarlo, StopsWhereItIsToldToWithTheFirstSamples) {
  const Program program = small_program();
  const CostModel costs = small_costs(program);
  for (const int threads : {1, 4}) {
    const MonteCarlo stopped =
        monte_carlo(program, costs, jitter,
                    {.samples = 5000, .seed = 3, .threads = threads, .progress = [](int done) {
                       return done < 100;
                     }});
    EXPECT_GE(stopped.samples, 100);
    EXPECT_LT(stopped.samples, 5000);
    const MonteCarlo whole =
        monte_carlo(program, costs, jitter, {.samples = stopped.samples, .seed = 3});
    EXPECT_EQ(stopped, whole);
  }
}

TEST(MonteCarlo, ProgressComesToAllSamples) {
  const Program program = small_program();
  int last = 0;
  static_cast<void>(monte_carlo(program, small_costs(program), jitter,
                                {.samples = 100, .threads = 3, .progress = [&](int done) {
                                   EXPECT_GT(done, last);
                                   last = done;
                                   return true;
                                 }}));
  EXPECT_EQ(last, 100);
}

TEST(MonteCarlo, PassesOnWhatThreadsThrow) {
  const Program program = small_program();
  const CostModel costs =
      equal_costs(program.pipeline().stages(), {.forward = Time(1'000'000'000'000'000'000)});
  EXPECT_THAT(
      refusal(ExitCode::usage,
              [&] { return monte_carlo(program, costs, jitter, {.samples = 50, .threads = 3}); }),
      HasSubstr("lower the costs"));
}

TEST(MonteCarloDeathTest, SomethingMustBeAskedFor) {
  const Program program = small_program();
  EXPECT_DEATH(static_cast<void>(monte_carlo(program, small_costs(program), {}, {.samples = 0})),
               "CHECK");
}

}  // namespace
}  // namespace dualpipe
