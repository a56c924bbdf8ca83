#include "scheduler/arrange/anneal.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <random>

#include <gtest/gtest.h>

#include "costs/cost_model.h"
#include "scheduler/arrange/tracks.h"
#include "scheduler/arrange/word_times.h"
#include "scheduler/pipeline.h"
#include "tests/support/random_schedule.h"
#include "tests/support/simulated.h"
#include "tests/support/words.h"

namespace dualpipe {
namespace {

std::int64_t value_of(const Tracks& tracks, const Words& words, const Objective& objective) {
  const std::optional<StepTimes> times = WordTimes(tracks).measure(words);
  EXPECT_TRUE(times.has_value()) << to_text(words);
  return times ? objective(*times) : 0;
}

StepTimes step_times(int makespan, int longest_rank_time, int mean_rank_end) {
  return {.makespan = Time(makespan),
          .longest_rank_time = Time(longest_rank_time),
          .mean_rank_end = Time(mean_rank_end),
          .mean_rank_time = Time(mean_rank_end)};
}

TEST(Objective, WeighsTheLongestRankTime) {
  const Objective rank_first{.rank_time_weight = 4};
  const Objective makespan_only{.rank_time_weight = 0};
  const StepTimes early_end = step_times(100, 90, 80);
  const StepTimes short_ranks = step_times(103, 89, 80);
  EXPECT_LT(rank_first(short_ranks), rank_first(early_end));
  EXPECT_LT(makespan_only(early_end), makespan_only(short_ranks));
}

TEST(Objective, TellsEqualStepsApartByTheMeanOverTheRanks) {
  const Objective objective;
  EXPECT_LT(objective(step_times(100, 90, 79)), objective(step_times(100, 90, 80)));
  EXPECT_LT(objective(step_times(100, 90, 90)), objective(step_times(101, 90, 89)));
}

TEST(Objective, GivesUpNothingBeyondABoundForTheOtherTime) {
  const Objective objective{
      .rank_time_weight = 4, .makespan_max = Time(100), .rank_time_max = Time(90)};
  EXPECT_GT(objective(step_times(101, 60, 60)), objective(step_times(100, 90, 90)));
  EXPECT_GT(objective(step_times(60, 91, 60)), objective(step_times(100, 90, 90)));
}

// Random words, in all units of memory, with a limit that they just hold.
TEST(Anneal, ReturnsWordsThatAreNoWorseAndHoldTheLimit) {
  int better = 0;
  constexpr int seeds = 200;
  for (unsigned seed = 0; seed < seeds; ++seed) {
    std::mt19937 random(seed);
    Instance instance = random_instance(random);
    Tracks& tracks = instance.tracks;
    draw_memory(random, tracks);
    const Words words = random_words(random, tracks);
    tracks.limit = 0;
    for (const Word& word : words) {
      tracks.limit = std::max(tracks.limit, most_held(tracks, word));
    }
    const AnnealingOptions options{.objective = {.rank_time_weight = draw(random, 0, 4)},
                                   .letters = 300 * tracks.letters(),
                                   .seed = seed};
    const Words annealed = anneal(tracks, words, options);
    const std::int64_t before = value_of(tracks, words, options.objective);
    const std::int64_t after = value_of(tracks, annealed, options.objective);
    EXPECT_LE(after, before) << "seed " << seed;
    better += after < before ? 1 : 0;
    for (const Word& word : annealed) {
      EXPECT_LE(most_held(tracks, word), tracks.limit) << "seed " << seed;
    }
  }
  EXPECT_GT(better, seeds / 2);
}

TEST(Anneal, WithoutEffortReturnsWhatItWasGiven) {
  std::mt19937 random(1);
  const Instance instance = random_family_instance(random);
  const Words words = random_words(random, instance.tracks);
  EXPECT_EQ(anneal(instance.tracks, words, {.objective = {}, .letters = 0}), words);
}

TEST(Anneal, TwiceTheSameGivesTheSameAndAnotherSeedAnotherWay) {
  const Placement placement = v_placement(3);
  std::mt19937 random(5);
  const Instance instance = instance_of(placement, 5, random_costs(random, placement.stages()));
  const Words words = random_words(random, instance.tracks);
  const AnnealingOptions options{.objective = {}, .letters = 20'000, .seed = 1};
  EXPECT_EQ(anneal(instance.tracks, words, options), anneal(instance.tracks, words, options));
  AnnealingOptions other = options;
  other.seed = 2;
  EXPECT_NE(anneal(instance.tracks, words, options), anneal(instance.tracks, words, other));
}

TEST(Anneal, OfOpsThatTakeNoTimeEnds) {
  const CostModel costs = equal_costs(2, StageCosts{});
  const Instance instance = instance_of(linear_placement(2), 2, costs);
  const Words words = words_from({"F0 F0 I0 I0 W0 W0", "F1 F1 I1 I1 W1 W1"});
  EXPECT_EQ(value_of(instance.tracks,
                     anneal(instance.tracks, words, {.objective = {}, .letters = 1000}), {}),
            0);
}

}  // namespace
}  // namespace dualpipe
