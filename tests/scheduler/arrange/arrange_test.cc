// The engine against everything there is, where that can be tried, and against optima that were
// proven elsewhere.

#include "scheduler/arrange/arrange.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/cost_model.h"
#include "scheduler/arrange/anneal.h"
#include "scheduler/arrange/tracks.h"
#include "scheduler/arrange/word_times.h"
#include "scheduler/compile.h"
#include "scheduler/op.h"
#include "scheduler/pipeline.h"
#include "tests/support/random_schedule.h"
#include "tests/support/schedules.h"
#include "tests/support/simulated.h"
#include "tests/support/words.h"

namespace dualpipe {
namespace {

using testing::IsEmpty;

constexpr Objective makespan_only{.rank_time_weight = 0};
constexpr Objective rank_time_first{.rank_time_weight = 1000};

StepTimes times_of(const Tracks& tracks, const Words& words) {
  const std::optional<StepTimes> times = WordTimes(tracks).measure(words);
  EXPECT_TRUE(times.has_value()) << to_text(words);
  return times.value_or(StepTimes{});
}

StepTimes arranged(const Tracks& tracks, const Objective& objective, std::int64_t effort) {
  return times_of(
      tracks,
      arrange(tracks, Seeds{}, {.objective = objective, .effort = effort, .periodic_plans = true}));
}

std::vector<std::int64_t> limits_of(const Tracks& tracks) {
  const std::int64_t least = least_limit(tracks);
  return {least, least + 1, least + 2, Tracks::unlimited};
}

// Every pair of words of two ranks is tried, 3.1 million of three microbatches and 63 thousand of
// the V; the engine finds a schedule that is as good.
TEST(Arrange, IsOptimalWhereEverythingCanBeTried) {
  std::mt19937 random(17);
  const std::array shapes{std::pair(linear_placement(2), 2), std::pair(linear_placement(2), 3),
                          std::pair(linear_placement(3), 2), std::pair(v_placement(1), 2),
                          std::pair(v_placement(2), 1)};
  for (const auto& [placement, microbatches] : shapes) {
    for (int turn = 0; turn < 8; ++turn) {
      Instance instance =
          instance_of(placement, microbatches, random_costs(random, placement.stages()));
      for (const std::int64_t limit : limits_of(instance.tracks)) {
        instance.tracks.limit = limit;
        const std::optional<Optimum> optimum = optimum_of(instance.tracks);
        ASSERT_TRUE(optimum.has_value());
        SCOPED_TRACE(std::to_string(placement.stages()) + " stages, turn " + std::to_string(turn) +
                     ", limit " + std::to_string(limit));
        constexpr std::int64_t effort = 50'000;
        EXPECT_EQ(arranged(instance.tracks, makespan_only, effort).makespan, optimum->makespan);
        EXPECT_EQ(arranged(instance.tracks, rank_time_first, effort).longest_rank_time,
                  optimum->longest_rank_time);
      }
    }
  }
}

// A V's way down and back is long for moves of single letters, and yet. With room for three there
// are a million pairs of words, so one instance must do.
TEST(Arrange, IsOptimalOnAVOfTwoRanksWithTwoMicrobatches) {
  for (unsigned seed = 1; seed <= 8; ++seed) {
    std::mt19937 random(seed);
    Instance instance = instance_of(v_placement(2), 2, random_costs(random, 4));
    for (const std::int64_t limit : {2, 3}) {
      if (limit == 3 && seed > 1) {
        continue;
      }
      instance.tracks.limit = limit;
      const std::optional<Optimum> optimum = optimum_of(instance.tracks);
      ASSERT_TRUE(optimum.has_value());
      EXPECT_EQ(arranged(instance.tracks, makespan_only, 200'000).makespan, optimum->makespan)
          << "seed " << seed << ", limit " << limit;
    }
  }
}

// P = 4, M = 8 and F = I = 20, W = 18 of a rank, memory of four of a rank's activations: makespans
// that branch and bound has proven to be the least.
TEST(Arrange, ReachesProvenOptimaOfFourRanks) {
  struct Known {
    int p2p;
    int linear;
    int v;
  };
  for (const Known& known :
       {Known{.p2p = 0, .linear = 530, .v = 494}, Known{.p2p = 1, .linear = 542, .v = 503},
        Known{.p2p = 4, .linear = 578, .v = 536}}) {
    SCOPED_TRACE("p2p " + std::to_string(known.p2p));
    const StageCosts whole = stage_costs({.forward = 20, .input = 20, .weight = 18});
    Tracks linear = tracks_of(linear_placement(4), 8, equal_costs(4, whole, Time(known.p2p)));
    linear.limit = 4;
    EXPECT_EQ(arranged(linear, makespan_only, 1'000'000).makespan, Time(known.linear));
    const StageCosts half = stage_costs({.forward = 10, .input = 10, .weight = 9});
    Tracks v = tracks_of(v_placement(4), 8, equal_costs(8, half, Time(known.p2p)));
    v.limit = 8;
    EXPECT_EQ(arranged(v, makespan_only, 5'000'000).makespan, Time(known.v));
  }
}

// One microbatch after the other, which holds every limit.
Words one_by_one(const Tracks& tracks) {
  Words words(tracks.of_rank.size());
  const int last = static_cast<int>(tracks.tracks.size()) - 1;
  const auto add = [&](OpKind kind, int track) {
    words[static_cast<std::size_t>(tracks[track].rank)].push_back({kind, track});
  };
  for (int microbatch = 0; microbatch < tracks[0].microbatches; ++microbatch) {
    for (int track = 0; track <= last; ++track) {
      add(OpKind::forward, track);
    }
    for (int track = last; track >= 0; --track) {
      add(OpKind::backward_input, track);
      add(OpKind::backward_weight, track);
    }
  }
  return words;
}

// Of seeds that are good at one of the two times, it keeps to the one whose longest rank is
// shortest, and loses nothing of either.
TEST(Arrange, IsNoSlowerThanTheBestSeedThatHoldsTheLimit) {
  for (unsigned seed = 0; seed < 150; ++seed) {
    std::mt19937 random(seed);
    Instance instance = random_family_instance(random);
    Tracks& tracks = instance.tracks;
    draw_memory(random, tracks);
    tracks.limit = least_limit(tracks) + draw(random, 0, 12);
    Seeds seeds;
    std::pair best{Time::max(), Time::max()};
    for (const Objective& objective : {makespan_only, rank_time_first, Objective{}}) {
      Tracks roomy = tracks;
      roomy.limit += draw(random, 0, 1);  // Some do not hold the limit, and do not count.
      seeds.words.push_back(anneal(roomy, one_by_one(roomy),
                                   {.objective = objective, .letters = 300 * tracks.letters()}));
      if (const std::optional<StepTimes> times = WordTimes(tracks).measure(seeds.words.back())) {
        best = std::min(best, std::pair(times->longest_rank_time, times->makespan));
      }
    }
    const Words words = arrange(tracks, seeds,
                                {.objective = {.rank_time_weight = draw(random, 0, 4)},
                                 .effort = seed % 2 == 0 ? 0 : 2000});
    const StepTimes times = times_of(tracks, words);
    EXPECT_LE(times.longest_rank_time, best.first) << "seed " << seed;
    EXPECT_LE(times.makespan, best.second) << "seed " << seed;
  }
}

// The least limit is enough in every unit, and the result is a schedule.
TEST(Arrange, HoldsEveryLimitDownToTheLeast) {
  for (unsigned seed = 0; seed < 300; ++seed) {
    std::mt19937 random(seed);
    Instance instance = random_family_instance(random);
    Tracks& tracks = instance.tracks;
    draw_memory(random, tracks);
    tracks.limit = least_limit(tracks) + draw(random, 0, 2);
    const Words words = arrange(
        tracks, Seeds{},
        {.objective = {}, .effort = draw(random, 0, 20'000), .periodic_plans = seed % 2 == 0});
    SCOPED_TRACE("seed " + std::to_string(seed) + "\n" + to_text(words));
    EXPECT_THAT(compile(schedule_of(instance, words), eager).violations, IsEmpty());
    for (const Word& word : words) {
      EXPECT_LE(most_held(tracks, word), tracks.limit);
    }
  }
}

TEST(Arrange, TwiceTheSameGivesTheSame) {
  for (unsigned seed = 0; seed < 20; ++seed) {
    std::mt19937 random(seed);
    Instance instance = random_family_instance(random);
    instance.tracks.limit = least_limit(instance.tracks) + draw(random, 0, 4);
    const ArrangeOptions options{.objective = {}, .effort = 50'000, .periodic_plans = true};
    EXPECT_EQ(arrange(instance.tracks, Seeds{}, options),
              arrange(instance.tracks, Seeds{}, options))
        << "seed " << seed;
  }
}

// Costs that are sums of the others' prime factors have no common measure to hide behind.
TEST(Arrange, ScalingAllCostsScalesAllTimes) {
  std::mt19937 random(23);
  const CostModel costs = random_costs(random, 6);
  CostModel scaled = costs;
  for (StageCosts& stage : scaled.stages) {
    stage.forward *= 1000;
    stage.backward_input *= 1000;
    stage.backward_weight *= 1000;
  }
  scaled.p2p *= 1000;
  Tracks tracks = tracks_of(v_placement(3), 6, costs);
  Tracks longer = tracks_of(v_placement(3), 6, scaled);
  tracks.limit = longer.limit = 4;
  const Time makespan = arranged(tracks, makespan_only, 300'000).makespan;
  const Time long_makespan = arranged(longer, makespan_only, 300'000).makespan;
  // Rounded differently, the search may take another way; the result is as good to a hundredth.
  EXPECT_NEAR(static_cast<double>(long_makespan.count()),
              1000.0 * static_cast<double>(makespan.count()),
              10.0 * static_cast<double>(makespan.count()));
}

}  // namespace
}  // namespace dualpipe
