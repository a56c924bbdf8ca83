// Periodic plans, unrolled over many periods and counted there.

#include "scheduler/arrange/periodic.h"

#include <algorithm>
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
#include "scheduler/arrange/tracks.h"
#include "scheduler/compile.h"
#include "scheduler/pipeline.h"
#include "tests/support/random_schedule.h"
#include "tests/support/schedules.h"
#include "tests/support/simulated.h"
#include "tests/support/words.h"

namespace dualpipe {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::size_t at(int index) {
  return static_cast<std::size_t>(index);
}

struct Interval {
  Time begin{};
  Time end{};
};

// What a rank does over many periods, in the order of time.
std::vector<Interval> unrolled(const Tracks& tracks, const PeriodicPlan& plan, int rank,
                               int periods) {
  std::vector<Interval> busy;
  for (int period = 0; period < periods; ++period) {
    const Time later = period * plan.period;
    for (const int index : tracks.of_rank[at(rank)]) {
      const Track& track = tracks[index];
      for (const auto& [begin, length] :
           {std::pair(plan.forward[at(index)], track.forward),
            std::pair(plan.input[at(index)], track.backward_input),
            std::pair(plan.weight[at(index)], track.backward_weight)}) {
        busy.push_back({begin + later, begin + later + length});
      }
    }
  }
  std::ranges::sort(busy, {}, &Interval::begin);
  return busy;
}

void expect_free_of_collisions(const Tracks& tracks, const PeriodicPlan& plan, int periods) {
  for (int rank = 0; rank < tracks.ranks(); ++rank) {
    const std::vector<Interval> busy = unrolled(tracks, plan, rank, periods);
    for (std::size_t next = 1; next < busy.size(); ++next) {
      ASSERT_GE(busy[next].begin, busy[next - 1].end) << "rank " << rank;
    }
  }
}

void expect_ordered(const Tracks& tracks, const PeriodicPlan& plan) {
  for (std::size_t index = 0; index < tracks.tracks.size(); ++index) {
    const Track& track = tracks.tracks[index];
    const Time forward_end = plan.forward[index] + track.forward;
    const Time input_end = plan.input[index] + track.backward_input;
    EXPECT_GE(plan.input[index], forward_end);
    EXPECT_GE(plan.weight[index], input_end);
    if (track.next != Track::none) {
      const Track& next = tracks[track.next];
      EXPECT_GE(plan.forward[at(track.next)], forward_end + next.from_previous);
      EXPECT_GE(plan.input[index],
                plan.input[at(track.next)] + next.backward_input + track.from_next);
    }
  }
}

// The most that the rank holds at the begin of a forward, counted over all microbatches there are.
std::int64_t counted_peak(const Tracks& tracks, const PeriodicPlan& plan, int rank, int periods) {
  std::int64_t most = 0;
  for (int period = 0; period < periods; ++period) {
    for (const int beginning : tracks.of_rank[at(rank)]) {
      const Time now = plan.forward[at(beginning)] + period * plan.period;
      std::int64_t held = 0;
      for (const int index : tracks.of_rank[at(rank)]) {
        const Track& track = tracks[index];
        for (int other = 0; other < periods; ++other) {
          const Time later = other * plan.period;
          const bool begun = plan.forward[at(index)] + later <= now;
          const bool back = plan.input[at(index)] + track.backward_input + later <= now;
          const bool done = plan.weight[at(index)] + track.backward_weight + later <= now;
          held += !begun || done ? 0 : back ? track.weight_operands : track.activation;
        }
      }
      most = std::max(most, held);
    }
  }
  return most;
}

// So many that the first microbatch is long done when the last begins.
int many_periods(const PeriodicPlan& plan) {
  Time last{};
  for (const std::vector<Time>* times : {&plan.forward, &plan.input, &plan.weight}) {
    last = std::max(last, std::ranges::max(*times));
  }
  return 3 * static_cast<int>(last / plan.period) + 6;
}

Instance any_instance(std::mt19937& random) {
  Instance instance = random_family_instance(random);
  for (Track& track : instance.tracks.tracks) {
    for (Time* time : {&track.forward, &track.backward_input, &track.backward_weight}) {
      *time = std::max(*time, Time(1));
    }
  }
  return instance;
}

Time busiest(const Tracks& tracks) {
  Time most{};
  for (const std::vector<int>& of_rank : tracks.of_rank) {
    Time work{};
    for (const int index : of_rank) {
      work += tracks[index].forward + tracks[index].backward_input + tracks[index].backward_weight;
    }
    most = std::max(most, work);
  }
  return most;
}

TEST(PeriodicPlan, RepeatsWithoutCollisionsInOrderAndWithinTheLimit) {
  int found = 0;
  constexpr unsigned seeds = 500;
  for (unsigned seed = 0; seed < seeds; ++seed) {
    std::mt19937 random(seed);
    Instance instance = any_instance(random);
    Tracks& tracks = instance.tracks;
    draw_memory(random, tracks);
    tracks.limit = least_limit(tracks) + draw(random, 0, 12);
    const Time period = busiest(tracks) * draw(random, 100, 200) / 100;
    const std::optional<PeriodicPlan> plan =
        find_periodic_plan(tracks, period, draw(random, 1, 20));
    if (!plan) {
      continue;
    }
    ++found;
    SCOPED_TRACE("seed " + std::to_string(seed));
    EXPECT_EQ(plan->period, period);
    const int periods = many_periods(*plan);
    expect_free_of_collisions(tracks, *plan, periods);
    expect_ordered(tracks, *plan);
    const std::vector<std::int64_t> peaks = peaks_of(tracks, *plan);
    for (int rank = 0; rank < tracks.ranks(); ++rank) {
      EXPECT_EQ(peaks[at(rank)], counted_peak(tracks, *plan, rank, periods)) << "rank " << rank;
      EXPECT_LE(peaks[at(rank)], tracks.limit) << "rank " << rank;
    }
  }
  EXPECT_GT(found, static_cast<int>(seeds) / 4);
}

// A period shorter than a rank's work cannot be.
TEST(PeriodicPlan, DoesNotExistBelowTheWorkOfTheBusiestRank) {
  for (unsigned seed = 0; seed < 200; ++seed) {
    std::mt19937 random(seed);
    const Instance instance = any_instance(random);
    EXPECT_FALSE(find_periodic_plan(instance.tracks, busiest(instance.tracks) - Time(1), 8))
        << "seed " << seed;
  }
}

TEST(PeriodicPlan, OfTheBusiestRanksWorkExistsWhereNothingIsLimitedAndRanksAreEqual) {
  for (int ranks = 1; ranks <= 6; ++ranks) {
    for (const Placement& placement : {linear_placement(ranks), v_placement(ranks)}) {
      const CostModel costs = equal_costs(placement.stages(), stage_costs({}), Time(1));
      const Tracks tracks = tracks_of(placement, 4, costs);
      EXPECT_TRUE(find_periodic_plan(tracks, busiest(tracks), 8)) << ranks << " ranks";
    }
  }
}

// V-Min's building block of four ranks (Qi et al., 2024): F0, F1, I1 and I0 of rank r at r, 7-r,
// 8+r and 15-r, the weight halves in the two slots of six that are left. Its peak is published as
// 2 floor((P+4)/3).
PeriodicPlan v_min_of_four_ranks() {
  PeriodicPlan plan{.period = Time(6), .forward = {}, .input = {}, .weight = {}};
  for (const int time : {0, 1, 2, 3, 4, 5, 6, 7}) {
    plan.forward.emplace_back(time);
  }
  for (const int time : {15, 14, 13, 12, 11, 10, 9, 8}) {
    plan.input.emplace_back(time);
  }
  for (const int time : {17, 16, 15, 14, 13, 12, 11, 10}) {
    plan.weight.emplace_back(time);
  }
  return plan;
}

TEST(PeriodicPlan, OfVMinsPublishedBlockHoldsItsPublishedPeak) {
  const Tracks tracks = tracks_of(v_placement(4), 8, equal_costs(8, stage_costs({})));
  const PeriodicPlan plan = v_min_of_four_ranks();
  expect_free_of_collisions(tracks, plan, 8);
  expect_ordered(tracks, plan);
  EXPECT_EQ(std::ranges::max(peaks_of(tracks, plan)), 4);
}

TEST(WordsOfAPlan, AreItsLettersInTheOrderOfTime) {
  const Tracks tracks = tracks_of(linear_placement(2), 3, equal_costs(2, stage_costs({})));
  const PeriodicPlan plan{.period = Time(3),
                          .forward = {Time(0), Time(1)},
                          .input = {Time(4), Time(2)},
                          .weight = {Time(5), Time(3)}};
  expect_free_of_collisions(tracks, plan, 5);
  EXPECT_EQ(words_of(tracks, plan),
            words_from({"F0 F0 I0 W0 F0 I0 W0 I0 W0", "F1 I1 W1 F1 I1 W1 F1 I1 W1"}));
}

TEST(WordsOfAPlan, CanBeRun) {
  for (unsigned seed = 0; seed < 300; ++seed) {
    std::mt19937 random(seed);
    const Instance instance = any_instance(random);
    const Tracks& tracks = instance.tracks;
    const Time period = busiest(tracks) * draw(random, 100, 150) / 100;
    if (const std::optional<PeriodicPlan> plan = find_periodic_plan(tracks, period, 4)) {
      const Words words = words_of(tracks, *plan);
      EXPECT_THAT(compile(schedule_of(instance, words), eager).violations, IsEmpty())
          << "seed " << seed << "\n"
          << to_text(words);
    }
  }
}

}  // namespace
}  // namespace dualpipe
