// The times of words against the simulator, against the naive longest path, and against what
// compile() says of the same schedule.

#include "scheduler/arrange/word_times.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "costs/cost_model.h"
#include "scheduler/arrange/tracks.h"
#include "scheduler/compile.h"
#include "scheduler/memory.h"
#include "scheduler/op.h"
#include "scheduler/pipeline.h"
#include "scheduler/schedule.h"
#include "sim/simulate.h"
#include "tests/support/longest_path.h"
#include "tests/support/random_schedule.h"
#include "tests/support/schedules.h"
#include "tests/support/simulated.h"
#include "tests/support/words.h"
#include "trace/metrics.h"
#include "trace/timeline.h"

namespace dualpipe {
namespace {

std::size_t at(int index) {
  return static_cast<std::size_t>(index);
}

std::optional<StepTimes> times_of(const Tracks& tracks, const Words& words) {
  return WordTimes(tracks).measure(words);
}

//   rank 0  F0 F0 .  .  .  I0I0W0 .  .  I0I0W0     F = 1, I = 2, W = 1, transfers 1
//   rank 1  .  .  F1I1I1W1F1I1I1W1
TEST(WordTimes, OfWordsDrawnByHand) {
  const CostModel costs =
      equal_costs(2, stage_costs({.forward = 1, .input = 2, .weight = 1}), Time(1));
  const Tracks tracks = tracks_of(linear_placement(2), 2, costs);
  const std::optional<StepTimes> times =
      times_of(tracks, words_from({"F0 F0 I0 W0 I0 W0", "F1 I1 W1 F1 I1 W1"}));
  ASSERT_TRUE(times.has_value());
  EXPECT_EQ(times->makespan, Time(13));
  EXPECT_EQ(times->longest_rank_time, Time(13));
  EXPECT_EQ(times->mean_rank_end, Time((13 + 10) / 2));
  EXPECT_EQ(times->mean_rank_time, Time((13 + 8) / 2));
}

TEST(WordTimes, EqualTheSimulationAndTheNaiveLongestPath) {
  for (unsigned seed = 0; seed < 3000; ++seed) {
    std::mt19937 random(seed);
    const Instance instance =
        seed % 2 == 0 ? random_instance(random) : random_family_instance(random);
    const Words words = random_words(random, instance.tracks);
    const Schedule schedule = schedule_of(instance, words);
    const std::optional<StepTimes> times = times_of(instance.tracks, words);
    ASSERT_TRUE(times.has_value()) << "seed " << seed << "\n" << to_text(words);
    Time end{};
    Time longest{};
    Time ends{};
    Time rank_times{};
    for (const std::vector<Span>& spans : longest_path(schedule, instance.costs)) {
      const Time rank_end = spans.empty() ? Time{} : spans.back().end;
      const Time rank_time = spans.empty() ? Time{} : rank_end - spans.front().begin;
      end = std::max(end, rank_end);
      longest = std::max(longest, rank_time);
      ends += rank_end;
      rank_times += rank_time;
    }
    ASSERT_EQ(times->makespan, end) << "seed " << seed << "\n" << to_text(words);
    ASSERT_EQ(times->longest_rank_time, longest) << "seed " << seed << "\n" << to_text(words);
    ASSERT_EQ(times->mean_rank_end, ends / instance.tracks.ranks()) << "seed " << seed;
    ASSERT_EQ(times->mean_rank_time, rank_times / instance.tracks.ranks()) << "seed " << seed;
    // Where several tracks share a channel, words may order its messages in two ways.
    const Compilation compilation = compile(schedule, eager);
    if (compilation.program) {
      const Metrics metrics = measure(simulate(*compilation.program, instance.costs));
      ASSERT_EQ(times->makespan, metrics.step_time) << "seed " << seed;
      ASSERT_EQ(times->longest_rank_time, metrics.longest_rank_time) << "seed " << seed;
    } else {
      ASSERT_EQ(compilation.violations.front().kind, Violation::Kind::message) << "seed " << seed;
    }
  }
}

// Two letters of a rank change places, a few times.
void disturb(std::mt19937& random, Words& words) {
  for (int swaps = draw(random, 1, 3); swaps > 0; --swaps) {
    Word& word = words[at(draw(random, 0, static_cast<int>(words.size()) - 1))];
    const int last = static_cast<int>(word.size()) - 1;
    std::swap(word[at(draw(random, 0, last))], word[at(draw(random, 0, last))]);
  }
}

TEST(WordTimes, AreNoneExactlyWhereTheScheduleIsInvalid) {
  int timed = 0;
  constexpr unsigned seeds = 3000;
  for (unsigned seed = 0; seed < seeds; ++seed) {
    std::mt19937 random(seed);
    const Instance instance = random_family_instance(random);
    Words words = random_words(random, instance.tracks);
    disturb(random, words);
    const bool valid = compile(schedule_of(instance, words), eager).program.has_value();
    EXPECT_EQ(times_of(instance.tracks, words).has_value(), valid) << "seed " << seed << "\n"
                                                                   << to_text(words);
    timed += valid ? 1 : 0;
  }
  EXPECT_GT(timed, static_cast<int>(seeds) / 10);
  EXPECT_LT(timed, static_cast<int>(seeds) * 9 / 10);
}

// In every unit, and at the very limit.
TEST(WordTimes, AreNoneExactlyWhereTheMemoryLimitIsBroken) {
  for (unsigned seed = 0; seed < 1000; ++seed) {
    std::mt19937 random(seed);
    Instance instance = random_instance(random);
    const std::vector<StageBytes> bytes = draw_memory(random, instance.tracks);
    const Words words = random_words(random, instance.tracks);
    const Schedule schedule = schedule_of(instance, words);
    std::int64_t most = 0;
    for (const Word& word : words) {
      most = std::max(most, most_held(instance.tracks, word));
    }
    for (const std::int64_t limit : {most - 1, most, most + 1}) {
      instance.tracks.limit = limit;
      EXPECT_EQ(times_of(instance.tracks, words).has_value(), limit >= most) << "seed " << seed;
      const MemoryLimit in_bytes{.amount = limit, .unit = MemoryLimit::Unit::bytes};
      EXPECT_EQ(find_excess(schedule, bytes, in_bytes).has_value(), limit < most)
          << "seed " << seed;
    }
  }
}

TEST(WordTimes, OfOneWordDoNotDependOnWhatWasMeasuredBefore) {
  std::mt19937 random(3);
  const Instance instance =
      instance_of(v_placement(3), 4, random_costs(random, v_placement(3).stages()));
  WordTimes timer(instance.tracks);
  for (int turn = 0; turn < 200; ++turn) {
    Words words = random_words(random, instance.tracks);
    if (turn % 2 == 0) {
      disturb(random, words);
    }
    const std::optional<StepTimes> again = timer.measure(words);
    const std::optional<StepTimes> fresh = times_of(instance.tracks, words);
    ASSERT_EQ(again.has_value(), fresh.has_value());
    if (fresh) {
      EXPECT_EQ(again->makespan, fresh->makespan);
      EXPECT_EQ(again->mean_rank_time, fresh->mean_rank_time);
    }
  }
}

// How long before `later` begins must `earlier` be done; nothing if it need not be.
std::optional<Time> delay_between(const Instance& instance, const Op& earlier, const Op& later,
                                  bool same_rank) {
  for (const Value& value : reads(later, instance.placement.stages())) {
    for (const Value& written : writes(earlier)) {
      if (written == value) {
        return same_rank ? Time{} : instance.costs.p2p;
      }
    }
  }
  return std::nullopt;
}

// From the end of the rank that the objective looks at, back to the beginning, without a gap.
void expect_critical(const Instance& instance, const Words& words, int rank_time_weight) {
  WordTimes timer(instance.tracks);
  ASSERT_TRUE(timer.measure(words).has_value());
  std::vector<Place> path;
  timer.find_critical_path(words, rank_time_weight, path);
  const std::vector<std::vector<Span>> times =
      longest_path(schedule_of(instance, words), instance.costs);
  const auto span_at = [&](const Place& place) {
    return times[at(place.rank)][at(place.position)];
  };
  const auto length_of = [&](const std::vector<Span>& spans) {
    return spans.empty()
               ? Time{}
               : spans.back().end + rank_time_weight * (spans.back().end - spans.front().begin);
  };
  ASSERT_FALSE(path.empty());
  const std::vector<Span>& last_rank = times[at(path.front().rank)];
  EXPECT_EQ(at(path.front().position), last_rank.size() - 1);
  for (const std::vector<Span>& spans : times) {
    EXPECT_LE(length_of(spans), length_of(last_rank));
  }
  for (std::size_t step = 1; step < path.size(); ++step) {
    const Span later = span_at(path[step - 1]);
    const Span earlier = span_at(path[step]);
    const bool same_rank = path[step].rank == path[step - 1].rank;
    const bool neighbours = same_rank && path[step].position == path[step - 1].position - 1;
    const std::optional<Time> delay =
        neighbours ? std::optional(Time{})
                   : delay_between(instance, earlier.slot.front(), later.slot.front(), same_rank);
    ASSERT_TRUE(delay.has_value());
    EXPECT_EQ(earlier.end + *delay, later.begin);
  }
  EXPECT_EQ(span_at(path.back()).begin, Time{});
}

TEST(CriticalPath, IsAChainWithoutGapsThatEndsWithTheLongestRank) {
  for (unsigned seed = 0; seed < 1000; ++seed) {
    std::mt19937 random(seed);
    const Instance instance = random_instance(random);
    const Words words = random_words(random, instance.tracks);
    if (std::ranges::all_of(words, [](const Word& word) { return !word.empty(); })) {
      SCOPED_TRACE("seed " + std::to_string(seed) + "\n" + to_text(words));
      expect_critical(instance, words, draw(random, 0, 5));
    }
  }
}

}  // namespace
}  // namespace dualpipe
