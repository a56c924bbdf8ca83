#include "sim/sensitivity.h"

#include <algorithm>
#include <cstddef>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "costs/cost_model.h"
#include "scheduler/compile.h"
#include "scheduler/generate.h"
#include "scheduler/pipeline.h"
#include "scheduler/program.h"
#include "scheduler/schedule.h"
#include "scheduler/text.h"
#include "sim/durations.h"
#include "sim/simulate.h"
#include "tests/support/longest_path.h"
#include "tests/support/random_schedule.h"
#include "tests/support/schedules.h"
#include "tests/support/simulated.h"
#include "trace/timeline.h"

namespace dualpipe {
namespace {

using Of = Sensitivity::Of;

const StageCosts uneven{.forward = Time(1000),
                        .backward_input = Time(1300),
                        .backward_weight = Time(700),
                        .overlapped = Time(2600)};

std::vector<Sensitivity> sensitivities_of(const Program& program, const CostModel& costs) {
  return sensitivities(program.pipeline(), costs, [&](const CostModel& changed, int faster_rank) {
    StepDurations durations = nominal_durations(program, changed);
    if (faster_rank >= 0) {
      shorten_rank(program, faster_rank, durations);
    }
    return makespan(simulate(program, changed, durations, {.transfers = false}));
  });
}

std::vector<Sensitivity> sensitivities_of(std::string_view family, const Shape& shape,
                                          const StageCosts& stage, Time p2p = {}) {
  const Schedule schedule = generate(find_family(family), shape);
  return sensitivities_of(compile_or_throw(schedule, eager),
                          equal_costs(schedule.pipeline.stages(), stage, p2p));
}

Sensitivity row_of(const std::vector<Sensitivity>& rows, Of of, int index = -1) {
  const auto found = std::ranges::find_if(
      rows, [&](const Sensitivity& row) { return row.of == of && row.index == index; });
  EXPECT_NE(found, rows.end()) << to_string(of) << " " << index;
  return found == rows.end() ? Sensitivity{} : *found;
}

// (M+P-1)(F+I+W) + 2(P-1)c.
TEST(Sensitivities, AreTheDerivativesOfGPipesClosedForm) {
  constexpr int filled = 6 + 4 - 1;
  const std::vector<Sensitivity> rows =
      sensitivities_of("gpipe", {.ranks = 4, .microbatches = 6}, uneven, Time(500));
  EXPECT_EQ(row_of(rows, Of::forward).saved, Time(filled * 10));
  EXPECT_EQ(row_of(rows, Of::backward_input).saved, Time(filled * 13));
  EXPECT_EQ(row_of(rows, Of::backward_weight).saved, Time(filled * 7));
  EXPECT_EQ(row_of(rows, Of::overlapped).saved, Time(0));
  EXPECT_EQ(row_of(rows, Of::transfer).saved, Time(2 * 3 * 5));
  EXPECT_DOUBLE_EQ(row_of(rows, Of::transfer).elasticity, 3000.0 / (filled * 3000 + 3000));
}

// H = 2: 2H F + max(H F, (H-1)I) + (M-H-2)FB + (H+2)B + (H-1)max(I-W, 0).
TEST(Sensitivities, AreTheDerivativesOfDualPipesClosedForm) {
  const std::vector<Sensitivity> rows =
      sensitivities_of("dualpipe", {.ranks = 4, .microbatches = 12}, uneven);
  EXPECT_EQ(row_of(rows, Of::forward).saved, Time((4 + 2) * 10));
  EXPECT_EQ(row_of(rows, Of::overlapped).saved, Time(8 * 26));
  EXPECT_EQ(row_of(rows, Of::backward_input).saved, Time((4 + 1) * 13));
  EXPECT_EQ(row_of(rows, Of::backward_weight).saved, Time((4 - 1) * 7));
}

// The step time is a sum of such times, so that the elasticities of all parts add up to 1 (Euler)
// where a per cent changes no path.
TEST(Sensitivities, AddUpToOneOverAllKinds) {
  for (const char* family : {"1f1b", "gpipe", "dualpipe", "interleaved"}) {
    const std::vector<Sensitivity> rows =
        sensitivities_of(family, {.ranks = 4, .microbatches = 16, .chunks = 2}, uneven,
                         std::string_view(family) == "dualpipe" ? Time{} : Time(200));
    double sum = 0.0;
    for (const Sensitivity& row : rows) {
      sum += row.index < 0 ? row.elasticity : 0.0;
    }
    EXPECT_NEAR(sum, 1.0, 1e-9) << family;
  }
}

TEST(Sensitivities, OfTheOnlyStageIsAll) {
  const std::vector<Sensitivity> rows =
      sensitivities_of("1f1b", {.ranks = 1, .microbatches = 5}, uneven);
  EXPECT_DOUBLE_EQ(row_of(rows, Of::stage, 0).elasticity, 1.0);
}

// One rank: nothing overlaps, and the norm follows the only reduction.
TEST(Sensitivities, OfTheTailAreItsOwnLengthWhereNothingHidesIt) {
  CostModel costs = equal_costs(1, uneven);
  costs.stages[0].tail = {.replica_reduce = {},
                          .gradient_reduce = Time(300),
                          .optimizer = Time(500),
                          .parameter_gather = Time(200)};
  costs.gradient_norm = Time(100);
  const Program program =
      compile_or_throw(generate(find_family("1f1b"), {.ranks = 1, .microbatches = 2}), eager);
  const Sensitivity tail = row_of(sensitivities_of(program, costs), Of::tail);
  EXPECT_EQ(tail.saved, Time(11));
  EXPECT_DOUBLE_EQ(tail.elasticity, 1100.0 / (6000 + 1100));
}

TEST(Sensitivities, OfAStepThatTakesNoTimeAreZero) {
  for (const Sensitivity& row : sensitivities_of("1f1b", {.ranks = 2, .microbatches = 2}, {})) {
    EXPECT_EQ(row.saved, Time{});
    EXPECT_EQ(row.elasticity, 0.0);
  }
}

// Stage s is all that rank s has.
TEST(Sensitivities, OfALinearRankAreThoseOfItsStage) {
  const std::vector<Sensitivity> rows =
      sensitivities_of("1f1b", {.ranks = 4, .microbatches = 9}, uneven, Time(300));
  for (int rank = 0; rank < 4; ++rank) {
    EXPECT_GT(row_of(rows, Of::rank, rank).saved, Time{});
    EXPECT_EQ(row_of(rows, Of::rank, rank).saved, row_of(rows, Of::stage, rank).saved) << rank;
  }
}

// A per cent off `costs`, by another hand.
CostModel cheaper(CostModel costs, Of of, int index) {
  const auto off = [](Time& time) { time = Time(time.count() / 100 * 99); };
  for (std::size_t stage = 0; stage < costs.stages.size(); ++stage) {
    const bool whole = of == Of::stage && static_cast<int>(stage) == index;
    StageCosts& one = costs.stages[stage];
    if (whole || of == Of::forward) {
      off(one.forward);
    }
    if (whole || of == Of::backward_input) {
      off(one.backward_input);
    }
    if (whole || of == Of::backward_weight) {
      off(one.backward_weight);
    }
    if (whole || of == Of::overlapped) {
      off(one.overlapped);
    }
  }
  if (of == Of::transfer) {
    off(costs.p2p);
  }
  return costs;
}

CostModel hundredfold(CostModel costs) {
  for (StageCosts& stage : costs.stages) {
    stage.forward *= 100;
    stage.backward_input *= 100;
    stage.backward_weight *= 100;
    stage.overlapped *= 100;
  }
  costs.p2p *= 100;
  costs.p2p_latency *= 100;
  costs.p2p_in_node *= 100;
  costs.p2p_in_node_latency *= 100;
  return costs;
}

Time longest(const Schedule& schedule, const CostModel& costs) {
  Time end{};
  for (const std::vector<Span>& spans : longest_path(schedule, costs)) {
    end = spans.empty() ? end : std::max(end, spans.back().end);
  }
  return end;
}

TEST(Sensitivities, EqualTheDifferenceOfTwoNaiveLongestPathsOnRandomSchedules) {
  for (unsigned seed = 0; seed < 40; ++seed) {
    std::mt19937 random(seed);
    const Schedule schedule = random_schedule(random, {.ranks = 4, .stages = 5, .microbatches = 5});
    const CostModel costs = hundredfold(random_costs(random, schedule.pipeline.stages()));
    SCOPED_TRACE("seed " + std::to_string(seed) + "\n" + to_text(schedule));
    for (const Sensitivity& row : sensitivities_of(compile_or_throw(schedule, eager), costs)) {
      if (row.of != Of::tail && row.of != Of::rank) {
        EXPECT_EQ(row.saved,
                  longest(schedule, costs) - longest(schedule, cheaper(costs, row.of, row.index)))
            << to_string(row.of) << " " << row.index;
      }
    }
  }
}

}  // namespace
}  // namespace dualpipe
