#include "sim/retiming.h"

#include <algorithm>
#include <cstddef>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/cost_model.h"
#include "scheduler/compile.h"
#include "scheduler/generate.h"
#include "scheduler/op.h"
#include "scheduler/program.h"
#include "scheduler/schedule.h"
#include "scheduler/text.h"
#include "sim/durations.h"
#include "tests/support/longest_path.h"
#include "tests/support/random_schedule.h"
#include "tests/support/schedules.h"
#include "tests/support/simulated.h"
#include "trace/timeline.h"

namespace dualpipe {
namespace {

using testing::ElementsAre;

// Whether ranks that run their slots one by one come to their ends, in the most obvious way.
bool completes(const Schedule& schedule) {
  std::set<Value> written;
  std::vector<std::size_t> next(schedule.ranks.size(), 0);
  const auto is_ready = [&](const Slot& slot) {
    return std::all_of(slot.begin(), slot.end(), [&](const Op& op) {
      const Values values = reads(op, schedule.pipeline.stages());
      return std::all_of(values.begin(), values.end(),
                         [&](const Value& value) { return written.contains(value); });
    });
  };
  bool is_done = false;
  for (bool moves = true; moves;) {
    moves = false;
    is_done = true;
    for (std::size_t rank = 0; rank < next.size(); ++rank) {
      const std::vector<Slot>& slots = schedule.ranks[rank];
      for (; next[rank] < slots.size() && is_ready(slots[next[rank]]); ++next[rank]) {
        for (const Op& op : slots[next[rank]]) {
          const Values values = writes(op);
          written.insert(values.begin(), values.end());
        }
        moves = true;
      }
      is_done = is_done && next[rank] == slots.size();
    }
  }
  return is_done;
}

struct Times {
  std::vector<std::vector<std::pair<Time, Time>>> ranks;

  bool operator==(const Times&) const = default;
};

Times times_of(const Retiming& retiming, int ranks) {
  Times times;
  for (int rank = 0; rank < ranks; ++rank) {
    auto& spans = times.ranks.emplace_back();
    for (int place = 0; place < retiming.slots(rank); ++place) {
      spans.emplace_back(retiming.begin(rank, place), retiming.end(rank, place));
    }
  }
  return times;
}

Times reference_times(const Schedule& schedule, const CostModel& costs) {
  Times times;
  for (const std::vector<Span>& spans : longest_path(schedule, costs)) {
    auto& rank = times.ranks.emplace_back();
    for (const Span& span : spans) {
      rank.emplace_back(span.begin, span.end);
    }
  }
  return times;
}

Time last_end(const Times& times) {
  Time latest{};
  for (const auto& spans : times.ranks) {
    latest = spans.empty() ? latest : std::max(latest, spans.back().second);
  }
  return latest;
}

Retiming retiming_of(const Schedule& schedule, const CostModel& costs) {
  const Program program = compile_or_throw(schedule, eager);
  return {program, nominal_durations(program, costs)};
}

// 0W0 fills the wait for 1I1's gradient: 0I1 no longer waits for it.
TEST(Retiming, AWeightHalfMovesIntoAWait) {
  const Schedule schedule = written("0F0 0F1 0I0 0I1 0W0 0W1\n1F0 1I0 1W0 1F1 1I1 1W1\n");
  const CostModel costs = equal_costs(2, stage_costs({.forward = 2, .input = 2, .weight = 2}));
  Retiming retiming = retiming_of(schedule, costs);
  EXPECT_EQ(retiming.end(0, 3), Time(14));  // 0I1, after 1I1 at 10-12
  EXPECT_EQ(retiming.makespan(), Time(18));
  ASSERT_TRUE(retiming.swap(0, 3));
  EXPECT_THAT(retiming.order(0), ElementsAre(0, 1, 2, 4, 3, 5));
  EXPECT_EQ(retiming.begin(0, 3), Time(8));  // 0W0 behind 0I0
  EXPECT_EQ(retiming.begin(0, 4), Time(12));
  EXPECT_EQ(retiming.makespan(), Time(16));
  retiming.undo();
  EXPECT_THAT(retiming.order(0), ElementsAre(0, 1, 2, 3, 4, 5));
  EXPECT_EQ(retiming.makespan(), Time(18));
}

TEST(Retiming, RefusesASwapOfWhatDependsDirectly) {
  Retiming retiming =
      retiming_of(written("0F0 0I0 0W0\n1F0 1I0 1W0\n"), equal_costs(2, stage_costs({})));
  EXPECT_FALSE(retiming.swap(1, 0));
  EXPECT_FALSE(retiming.swap(1, 1));
  EXPECT_FALSE(retiming.swap(0, 1));
  EXPECT_THAT(retiming.order(1), ElementsAre(0, 1, 2));
}

// 0F0 and 0B0 are neighbours on rank 0, but 0B0 waits for 1B0, which waits for 0F0.
TEST(Retiming, RefusesASwapOfWhatDependsAroundThroughAnotherRank) {
  Retiming retiming =
      retiming_of(written("0F0 2F0 2B0 0B0\n1F0 1B0\n"), equal_costs(3, stage_costs({})));
  EXPECT_FALSE(retiming.swap(0, 0));
  EXPECT_FALSE(retiming.swap(0, 2));
}

TEST(Retiming, RandomSwapsGiveTheLongestPathOfTheChangedScheduleOrAreImpossible) {
  int possible = 0;
  int refused = 0;
  for (unsigned seed = 0; seed < 60; ++seed) {
    std::mt19937 random(seed);
    Schedule schedule = random_schedule(random, {.ranks = 4, .stages = 6, .microbatches = 6});
    const CostModel costs = random_costs(random, schedule.pipeline.stages());
    Retiming retiming = retiming_of(schedule, costs);
    const int ranks = schedule.pipeline.ranks();
    ASSERT_EQ(times_of(retiming, ranks), reference_times(schedule, costs));
    for (int attempt = 0; attempt < 40; ++attempt) {
      const int rank = draw(random, 0, ranks - 1);
      const std::vector<Slot>& slots = schedule.ranks[static_cast<std::size_t>(rank)];
      if (slots.size() < 2) {
        continue;
      }
      const int place = draw(random, 0, static_cast<int>(slots.size()) - 2);
      Schedule changed = schedule;
      std::swap(changed.ranks[static_cast<std::size_t>(rank)][static_cast<std::size_t>(place)],
                changed.ranks[static_cast<std::size_t>(rank)][static_cast<std::size_t>(place) + 1]);
      const std::string trace = "seed " + std::to_string(seed) + ", rank " + std::to_string(rank) +
                                ", place " + std::to_string(place) + "\n" + to_text(schedule);
      const bool expected = completes(changed);
      ASSERT_EQ(retiming.swap(rank, place), expected) << trace;
      if (expected) {
        ++possible;
        ASSERT_EQ(times_of(retiming, ranks), reference_times(changed, costs)) << trace;
        if (draw(random, 0, 2) == 0) {
          retiming.undo();
        } else {
          schedule = std::move(changed);
        }
      } else {
        ++refused;
      }
      ASSERT_EQ(times_of(retiming, ranks), reference_times(schedule, costs)) << trace;
      ASSERT_EQ(retiming.makespan(), last_end(reference_times(schedule, costs)));
    }
  }
  EXPECT_GT(possible, 200);
  EXPECT_GT(refused, 200);
}

TEST(Retiming, SwapsAreTakenBackOneByOneToWhereTheyWereKept) {
  std::mt19937 random(3);
  const Schedule schedule =
      quickly_generated(find_family("dualpipe"), {.ranks = 4, .microbatches = 12});
  const CostModel costs = random_costs(random, schedule.pipeline.stages());
  Retiming retiming = retiming_of(schedule, costs);
  const auto swap_some = [&](int wanted) {
    for (int made = 0; made < wanted;) {
      const int rank = draw(random, 0, 3);
      made += retiming.swap(rank, draw(random, 0, retiming.slots(rank) - 2)) ? 1 : 0;
    }
  };
  swap_some(20);
  retiming.keep();
  const Times kept = times_of(retiming, 4);
  const std::vector<int> order = retiming.order(2);
  swap_some(30);
  for (int swap = 0; swap < 30; ++swap) {
    retiming.undo();
  }
  EXPECT_EQ(times_of(retiming, 4), kept);
  EXPECT_EQ(retiming.order(2), order);
  EXPECT_DEATH(retiming.undo(), "CHECK");
}

TEST(RetimingDeathTest, PlacesMustExist) {
  Retiming retiming = retiming_of(written("0F0 0B0\n1F0 1B0\n"), equal_costs(2, stage_costs({})));
  EXPECT_DEATH(static_cast<void>(retiming.swap(0, 1)), "CHECK");
  EXPECT_DEATH(static_cast<void>(retiming.swap(0, -1)), "CHECK");
}

}  // namespace
}  // namespace dualpipe
