// ZB-V, V-Half and V-Min: the published order of the first, what is published of the others, and
// memory at its edges.

#include "scheduler/generators/v_schedules.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/cost_model.h"
#include "costs/error.h"
#include "scheduler/compile.h"
#include "scheduler/generate.h"
#include "scheduler/memory.h"
#include "scheduler/pipeline.h"
#include "scheduler/schedule.h"
#include "sim/simulate.h"
#include "tests/support/refusal.h"
#include "tests/support/schedules.h"
#include "tests/support/simulated.h"
#include "trace/metrics.h"

namespace dualpipe {
namespace {

using testing::IsEmpty;

Metrics measured(std::string_view family, const Shape& shape, const Target& target) {
  const Schedule schedule = generate(find_family(family), shape, target);
  return measure(simulate(compile_or_throw(schedule, eager), target.costs));
}

int peak_of(const Metrics& metrics) {
  return std::ranges::max(metrics.ranks, {}, &RankMetrics::peak_activations).peak_activations;
}

// PyTorch's file without its idle cells.
RankOrders computed(const std::string& file) {
  RankOrders ranks;
  std::istringstream lines(golden(file));
  for (std::string line; std::getline(lines, line);) {
    std::ranges::replace(line, ',', ' ');
    std::erase(line, '\r');
    ranks.push_back(slots_of(line));
  }
  return ranks;
}

TEST(ZbVPublishedOrder, IsPyTorchs) {
  EXPECT_EQ(zb_v_published_order({.ranks = 4, .microbatches = 8}),
            computed("pytorch/ZBVZeroBubble_pp4_mb8_spr2_compute.csv"));
}

// Of the paper: with F = I = W, no rank waits between its first op and its last, and none keeps
// more than 2P stage activations.
TEST(ZbVPublishedOrder, HasNoBubbleBetweenFirstAndLastForEqualCosts) {
  for (int ranks = 1; ranks <= 8; ++ranks) {
    for (const int microbatches : {2 * ranks, 2 * ranks + 1, 5 * ranks}) {
      const Shape shape{.ranks = ranks, .microbatches = microbatches};
      const Schedule schedule{
          .pipeline = {.name = "published",
                       .placement = v_placement(ranks),
                       .direction = directions_of_microbatches(microbatches, 1)},
          .ranks = zb_v_published_order(shape)};
      const Metrics metrics = measure(simulated(schedule, stage_costs({})));
      EXPECT_EQ(metrics.longest_rank_time, Time(6 * microbatches)) << ranks;
      EXPECT_LE(peak_of(metrics), 2 * ranks) << ranks;
    }
  }
}

TEST(ZbVPublishedOrder, OfFewMicrobatchesIsStillASchedule) {
  for (int ranks = 1; ranks <= 6; ++ranks) {
    for (int microbatches = 1; microbatches < 2 * ranks; ++microbatches) {
      const Schedule schedule{
          .pipeline = {.name = "published",
                       .placement = v_placement(ranks),
                       .direction = directions_of_microbatches(microbatches, 1)},
          .ranks = zb_v_published_order({.ranks = ranks, .microbatches = microbatches})};
      EXPECT_THAT(compile(schedule, eager).violations, IsEmpty()) << ranks << "x" << microbatches;
    }
  }
}

// The peaks of the paper: that of 1F1B, about a half, and about a third, of 2P stage activations.
TEST(VSchedules, KeepWhatIsPublished) {
  for (int ranks = 1; ranks <= 10; ++ranks) {
    for (const int microbatches : {1, ranks, 3 * ranks}) {
      const Shape shape{.ranks = ranks, .microbatches = microbatches};
      const Target target{.costs = equal_costs(2 * ranks, stage_costs({}), Time(1)),
                          .memory = std::nullopt,
                          .effort = 20'000};
      EXPECT_LE(peak_of(measured("zb-v", shape, target)), 2 * ranks);
      EXPECT_LE(peak_of(measured("v-half", shape, target)), ranks + 2 - ranks % 2);
      EXPECT_LE(peak_of(measured("v-min", shape, target)), 2 * ((ranks + 4) / 3));
    }
  }
}

// Published for P even, P >= 4, M >= 2P and unit costs: 6M + 3P - 7.
TEST(VHalf, AtUnitCostsIsNoSlowerThanWhatIsPublished) {
  for (const int ranks : {4, 6, 8, 10}) {
    for (const int microbatches : {2 * ranks, 2 * ranks + 1, 3 * ranks}) {
      const Metrics metrics = measured("v-half", {.ranks = ranks, .microbatches = microbatches},
                                       {.costs = equal_costs(2 * ranks, stage_costs({})),
                                        .memory = std::nullopt,
                                        .effort = 1'000'000});
      EXPECT_LE(metrics.longest_rank_time, Time(6 * microbatches + 3 * ranks - 7))
          << ranks << "x" << microbatches;
    }
  }
}

// The least for k stage activations at unit costs: 6M + 6P - 3k - 1, from V-Min's memory up. It
// takes building blocks with longer steps on the outer ranks, entered and left without waiting.
TEST(ZbV, WithLessThanItsMemoryReachesTheLowerBound) {
  for (const int ranks : {4, 5, 8}) {
    const int microbatches = 2 * ranks;
    for (int activations = 2 * ((ranks + 4) / 3); activations <= 2 * ranks - 2; ++activations) {
      const Metrics metrics = measured("zb-v", {.ranks = ranks, .microbatches = microbatches},
                                       {.costs = equal_costs(2 * ranks, stage_costs({})),
                                        .memory = MemoryLimit{.amount = activations},
                                        .effort = 1'000'000});
      EXPECT_EQ(metrics.longest_rank_time, Time(6 * microbatches + 6 * ranks - 3 * activations - 1))
          << ranks << " ranks, " << activations << " stage activations";
    }
  }
}

// In the paper's measure.
TEST(ZbV, IsNoSlowerThanThePublishedOrderAtAnyCosts) {
  const Shape shape{.ranks = 4, .microbatches = 8};
  for (const Durations& durations :
       {Durations{}, Durations{.forward = 10, .input = 15, .weight = 6, .overlapped = 31},
        Durations{.forward = 185, .input = 181, .weight = 93, .overlapped = 459}}) {
    const CostModel costs = equal_costs(8, stage_costs(durations), Time(6));
    const Schedule published{.pipeline = {.name = "published",
                                          .placement = v_placement(4),
                                          .direction = directions_of_microbatches(8, 1)},
                             .ranks = zb_v_published_order(shape)};
    const Metrics fixed = measure(simulate(compile_or_throw(published, eager), costs));
    const Metrics metrics =
        measured("zb-v", shape, {.costs = costs, .memory = std::nullopt, .effort = 200'000});
    EXPECT_LE(metrics.longest_rank_time, fixed.longest_rank_time);
  }
}

// An expensive last stage shares its rank with the first one, which then works longer than any: the
// schedule may not lose more than the way down and back to it.
TEST(ZbV, HonoursUnevenStages) {
  CostModel costs = equal_costs(8, stage_costs({.forward = 10, .input = 10, .weight = 10}));
  costs.stages.back() = stage_costs({.forward = 15, .input = 15, .weight = 15});
  const Metrics metrics = measured("zb-v", {.ranks = 4, .microbatches = 12},
                                   {.costs = costs, .memory = std::nullopt, .effort = 500'000});
  EXPECT_GE(metrics.longest_rank_time, Time(12 * (30 + 45)));
  EXPECT_LE(metrics.longest_rank_time, Time(12 * (30 + 45) + 10));
}

Target limited(const CostModel& costs, std::int64_t amount, MemoryLimit::Unit unit) {
  return {.costs = costs, .memory = MemoryLimit{.amount = amount, .unit = unit}, .effort = 20'000};
}

TEST(VSchedules, HoldEveryLimitDownToTheLeastAndNameItBelow) {
  const Shape shape{.ranks = 3, .microbatches = 5};
  CostModel costs = equal_costs(6, stage_costs({}), Time(1));
  for (StageCosts& stage : costs.stages) {
    stage.bytes.activation = 100;
    stage.bytes.weight_operands = 90;
  }
  costs.stages.back().bytes.activation = 250;
  for (const char* family : {"zb-v", "v-half", "v-min"}) {
    const auto in_activations = [&](int amount) {
      return measured(family, shape, limited(costs, amount, MemoryLimit::Unit::activations));
    };
    const auto in_bytes = [&](int amount) {
      return measured(family, shape, limited(costs, amount, MemoryLimit::Unit::bytes));
    };
    for (const int amount : {2, 3, 5, 30}) {
      EXPECT_LE(peak_of(in_activations(amount)), amount) << family;
    }
    for (const int amount : {350, 351, 500, 3000}) {
      for (const RankMetrics& rank : in_bytes(amount).ranks) {
        EXPECT_LE(rank.peak_memory.total(), amount) << family;
      }
    }
    EXPECT_EQ(refusal(ExitCode::infeasible, [&] { return in_activations(1).ranks.size(); }),
              std::string(family) +
                  " needs at least 2 stage activations per rank for this shape; the memory limit "
                  "is 1 stage activation");
    EXPECT_EQ(refusal(ExitCode::infeasible, [&] { return in_bytes(349).ranks.size(); }),
              std::string(family) +
                  " needs at least 350 B per rank for this shape; the memory limit is 349 B");
  }
}

TEST(VSchedules, TwiceTheSameGivesTheSame) {
  const Shape shape{.ranks = 4, .microbatches = 7};
  const Target target{.costs = equal_costs(8, stage_costs({.forward = 10, .input = 11}), Time(2)),
                      .memory = std::nullopt,
                      .effort = 100'000};
  for (const char* family : {"zb-v", "v-half", "v-min"}) {
    EXPECT_EQ(generate(find_family(family), shape, target),
              generate(find_family(family), shape, target))
        << family;
  }
}

}  // namespace
}  // namespace dualpipe
