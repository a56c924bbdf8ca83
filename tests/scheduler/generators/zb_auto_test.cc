// ZB-1p and ZB-2p: what they cost and keep, against the orders that do not look at costs, and at
// the edges of their memory.

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/cost_model.h"
#include "costs/error.h"
#include "scheduler/compile.h"
#include "scheduler/generate.h"
#include "scheduler/memory.h"
#include "scheduler/schedule.h"
#include "sim/simulate.h"
#include "tests/support/refusal.h"
#include "tests/support/schedules.h"
#include "tests/support/simulated.h"
#include "trace/metrics.h"

namespace dualpipe {
namespace {

using testing::IsEmpty;

constexpr std::int64_t some_effort = 300'000;

Metrics measured(std::string_view family, const Shape& shape, const CostModel& costs,
                 std::optional<MemoryLimit> memory = std::nullopt) {
  const Schedule schedule = generate(find_family(family), shape,
                                     {.costs = costs, .memory = memory, .effort = some_effort});
  return measure(simulate(compile_or_throw(schedule, eager), costs));
}

int peak_of(const Metrics& metrics) {
  return std::ranges::max(metrics.ranks, {}, &RankMetrics::peak_activations).peak_activations;
}

// A language model's head makes the last stage half as expensive again; its embedding the first.
CostModel with_head(int stages) {
  CostModel costs =
      equal_costs(stages, stage_costs({.forward = 100, .input = 120, .weight = 90}), Time(5));
  StageCosts& last = costs.stages.back();
  last.forward = Time(150);
  last.backward_input = Time(175);
  last.backward_weight = Time(140);
  costs.stages.front().forward = Time(110);
  return costs;
}

TEST(Zb1p, HonoursUnevenStages) {
  for (const Shape& shape :
       {Shape{.ranks = 4, .microbatches = 8}, Shape{.ranks = 4, .microbatches = 3},
        Shape{.ranks = 8, .microbatches = 16}, Shape{.ranks = 3, .microbatches = 20}}) {
    const CostModel costs = with_head(shape.ranks);
    const Metrics metrics = measured("zb-1p", shape, costs);
    for (const char* other : {"1f1b", "zb-h1"}) {
      const Metrics fixed = measured(other, shape, costs);
      EXPECT_LE(metrics.longest_rank_time, fixed.longest_rank_time) << other;
      EXPECT_LE(metrics.step_time, fixed.step_time) << other;
    }
    EXPECT_LE(peak_of(metrics), shape.ranks);
  }
}

// A stage that takes twice as long holds up all others, but need not wait itself: its rank's time
// is its work, and no schedule has less.
TEST(Zb1p, KeepsARankThatIsTwiceAsBusyBusy) {
  CostModel costs = equal_costs(4, stage_costs({.forward = 10, .input = 10, .weight = 10}));
  costs.stages[2] = stage_costs({.forward = 20, .input = 20, .weight = 20});
  const Shape shape{.ranks = 4, .microbatches = 16};
  EXPECT_EQ(measured("zb-1p", shape, costs).longest_rank_time, 16 * Time(60));
  EXPECT_GT(measured("1f1b", shape, costs).longest_rank_time, 16 * Time(60));
}

TEST(Zb2p, KeepsTwiceAsManyActivationsCountedInHalves) {
  for (const int microbatches : {4, 8, 12, 24}) {
    const Shape shape{.ranks = 4, .microbatches = microbatches};
    const CostModel costs =
        equal_costs(4, stage_costs({.forward = 100, .input = 105, .weight = 90}), Time(5));
    const Schedule schedule = generate(find_family("zb-2p"), shape,
                                       {.costs = costs, .memory = {}, .effort = some_effort});
    const std::vector<StageBytes> halves(4, {.activation = 2, .weight_operands = 1});
    const MemoryLimit limit{.amount = 16, .unit = MemoryLimit::Unit::bytes};
    EXPECT_THAT(find_excesses(schedule, halves, limit), IsEmpty()) << microbatches;
  }
}

TEST(ZbAuto, HoldsATargetInActivationsFromOneOnAndIsFasterWithMore) {
  const Shape shape{.ranks = 4, .microbatches = 10};
  const CostModel costs =
      equal_costs(4, stage_costs({.forward = 10, .input = 10, .weight = 10}), Time(1));
  for (const char* family : {"zb-1p", "zb-2p"}) {
    std::optional<Time> before;
    for (const int limit : {1, 2, 4, 7}) {
      const Metrics metrics = measured(family, shape, costs, MemoryLimit{.amount = limit});
      EXPECT_LE(peak_of(metrics), limit) << family;
      if (before) {
        EXPECT_LT(metrics.longest_rank_time, *before) << family << ", limit " << limit;
      }
      before = metrics.longest_rank_time;
    }
  }
}

// With room for one, every microbatch goes all the way down and back before the next.
TEST(ZbAuto, WithRoomForOneActivationTakesOneMicrobatchAtATime) {
  const Metrics metrics = measured("zb-1p", {.ranks = 3, .microbatches = 4},
                                   equal_costs(3, stage_costs({})), MemoryLimit{.amount = 1});
  // Rank 0 repeats its forward, two stages down and back, its two halves of a backward.
  EXPECT_EQ(metrics.longest_rank_time, Time(4 * (1 + 2 + 2 + 2)));
}

TEST(ZbAuto, HoldsATargetInBytesDownToTheLeastAndNamesItBelow) {
  const Shape shape{.ranks = 3, .microbatches = 6};
  CostModel costs = with_head(3);
  for (StageCosts& stage : costs.stages) {
    stage.bytes.activation = 1000;
    stage.bytes.weight_operands = 700;
  }
  costs.stages.back().bytes.weight_operands = 1500;
  const auto limited = [&](std::int64_t amount) {
    return measured("zb-1p", shape, costs,
                    MemoryLimit{.amount = amount, .unit = MemoryLimit::Unit::bytes});
  };
  for (const std::int64_t amount : {1500, 2200, 5000}) {
    for (const RankMetrics& rank : limited(amount).ranks) {
      EXPECT_LE(rank.peak_memory.total(), amount);
    }
  }
  EXPECT_EQ(refusal(ExitCode::infeasible, [&] { return limited(1499).ranks.size(); }),
            "zb-1p needs at least 1.465 KiB per rank for this shape; the memory limit is 1.464 "
            "KiB");
}

TEST(ZbAuto, RefusesNoRoomAtAllNamingTheLeast) {
  EXPECT_EQ(refusal(ExitCode::infeasible,
                    [] {
                      return measured("zb-2p", {.ranks = 2, .microbatches = 2},
                                      equal_costs(2, stage_costs({})), MemoryLimit{.amount = 0})
                          .ranks.size();
                    }),
            "zb-2p needs at least 1 stage activation per rank for this shape; the memory limit is "
            "0 stage activations");
}

TEST(ZbAuto, TwiceTheSameGivesTheSame) {
  const Shape shape{.ranks = 5, .microbatches = 9};
  const Target target{.costs = with_head(5), .memory = std::nullopt, .effort = some_effort};
  for (const char* family : {"zb-1p", "zb-2p"}) {
    EXPECT_EQ(generate(find_family(family), shape, target),
              generate(find_family(family), shape, target))
        << family;
  }
}

}  // namespace
}  // namespace dualpipe
