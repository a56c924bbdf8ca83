#include "sim/durations.h"

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/cost_model.h"
#include "costs/error.h"
#include "scheduler/compile.h"
#include "scheduler/generate.h"
#include "scheduler/program.h"
#include "tests/support/refusal.h"
#include "tests/support/schedules.h"
#include "tests/support/simulated.h"

namespace dualpipe {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr StageCosts plain{.forward = Time(1000),
                           .backward_input = Time(2000),
                           .backward_weight = Time(500),
                           .overlapped = Time(3000)};

Program two_stages() {
  return compile_or_throw(written("0F0 0F1 0B0 0I1 0W1\n1F0 1B0 1F1 1B1\n"));
}

CostModel costs_for(const Program& program, Time p2p = Time(100)) {
  return equal_costs(program.pipeline().stages(), plain, p2p);
}

std::vector<std::int64_t> counts(const std::vector<Time>& times) {
  std::vector<std::int64_t> numbers;
  for (const Time time : times) {
    numbers.push_back(time.count());
  }
  return numbers;
}

StepDurations drawn(const Program& program, const Variation& variation, std::uint64_t sample = 0) {
  return DurationSampler(program, costs_for(program), variation).draw(7, sample);
}

TEST(NominalDurations, AreTheCostModelsRankAfterRank) {
  const Program program = two_stages();
  const StepDurations durations = nominal_durations(program, costs_for(program));
  EXPECT_THAT(counts(durations.slots),
              ElementsAre(1000, 1000, 2500, 2000, 500, 1000, 2500, 1000, 2500));
  EXPECT_THAT(counts(durations.transfers), ElementsAre(100, 100, 100, 100));
  EXPECT_THAT(first_slots(program), ElementsAre(0, 5, 9));
}

TEST(DurationSampler, DrawsTheNominalDurationsWhereNothingVaries) {
  for (const char* family : {"1f1b", "dualpipe", "zb-h1"}) {
    const Program program =
        compile_or_throw(quickly_generated(find_family(family), {.ranks = 4, .microbatches = 8}));
    EXPECT_EQ(drawn(program, {}, 3), nominal_durations(program, costs_for(program))) << family;
  }
}

TEST(DurationSampler, FactorsOfStagesAndRanksMultiplyOps) {
  const Program program = two_stages();
  const StepDurations slow_stage = drawn(program, {.stage_factors = {1.0, 1.5}});
  EXPECT_THAT(counts(slow_stage.slots),
              ElementsAre(1000, 1000, 2500, 2000, 500, 1500, 3750, 1500, 3750));
  const StepDurations slow_rank = drawn(program, {.rank_factors = {2.0, 1.0}});
  EXPECT_THAT(counts(slow_rank.slots),
              ElementsAre(2000, 2000, 5000, 4000, 1000, 1000, 2500, 1000, 2500));
  EXPECT_EQ(slow_rank.transfers, slow_stage.transfers);
}

// F : B = 2 : 5, so of a pair's 3500 ns the forward has 1000.
TEST(DurationSampler, APairSharesItsTimeAsItsOpsWouldTakeItApart) {
  const Program program =
      compile_or_throw(written("0F0 1F0 (0F1;1B0)OVERLAP_F_B 0B0 1F1 1B1 0B1\n"));
  CostModel costs = costs_for(program);
  for (StageCosts& stage : costs.stages) {
    stage.overlapped = Time(3500);
  }
  const Variation variation{.stage_factors = {3.0, 1.0}};
  EXPECT_EQ(DurationSampler(program, costs, variation).draw(1, 1).slots[2], Time(3000 + 2500));
}

TEST(DurationSampler, MicrobatchesShareTheirFactorAmongTheirOps) {
  const Program program = two_stages();
  const std::vector<Time> slots = drawn(program, {.microbatch_sigma = 0.5}).slots;
  const double of_first = static_cast<double>(slots[0].count()) / 1000.0;   // 0F0
  const double of_second = static_cast<double>(slots[1].count()) / 1000.0;  // 0F1
  const double elsewhere = static_cast<double>(slots[5].count()) / 1000.0;  // 1F0
  EXPECT_NEAR(static_cast<double>(slots[2].count()), 2500.0 * of_first, 2.0);
  EXPECT_NEAR(static_cast<double>(slots[3].count()), 2000.0 * of_second, 2.0);
  EXPECT_NEAR(static_cast<double>(slots[4].count()), 500.0 * of_second, 2.0);
  EXPECT_GT(std::abs(of_first - of_second), 0.001);
  EXPECT_GT(std::abs(of_first - elsewhere), 0.001);
}

TEST(DurationSampler, SlotsAndTransfersVaryOnTheirOwn) {
  const Program program = two_stages();
  const StepDurations nominal = nominal_durations(program, costs_for(program));
  const StepDurations slots = drawn(program, {.slot_sigma = 0.2});
  EXPECT_NE(slots.slots, nominal.slots);
  EXPECT_EQ(slots.transfers, nominal.transfers);
  const StepDurations transfers = drawn(program, {.transfer_sigma = 0.2});
  EXPECT_EQ(transfers.slots, nominal.slots);
  EXPECT_NE(transfers.transfers, nominal.transfers);
}

TEST(DurationSampler, AStepIsTheSameWhateverWasDrawnBefore) {
  const Program program = two_stages();
  const Variation variation{.slot_sigma = 0.1, .transfer_sigma = 0.1, .microbatch_sigma = 0.1};
  const DurationSampler sampler(program, costs_for(program), variation);
  StepDurations reused;
  sampler.draw(7, 3, reused);
  sampler.draw(7, 12, reused);
  EXPECT_EQ(reused, sampler.draw(7, 12));
  EXPECT_NE(reused, sampler.draw(7, 13));
  EXPECT_NE(reused, sampler.draw(8, 12));
}

// Over many steps the mean of a slot is its nominal time, and of its logarithm the variance that of
// the two factors together: sigma^2 adds up.
TEST(DurationSampler, FactorsHaveMeanOneAndIndependentDeviations) {
  const Program program = two_stages();
  CostModel costs = costs_for(program);
  for (StageCosts& stage : costs.stages) {
    stage.forward = Time(1'000'000'000);
  }
  const Variation variation{.slot_sigma = 0.3, .microbatch_sigma = 0.4};
  const DurationSampler sampler(program, costs, variation);
  constexpr int steps = 20'000;
  double sum = 0.0;
  double squares = 0.0;
  StepDurations durations;
  for (int step = 0; step < steps; ++step) {
    sampler.draw(99, static_cast<std::uint64_t>(step), durations);
    const double factor = static_cast<double>(durations.slots[0].count()) / 1e9;
    sum += factor;
    squares += std::pow(std::log(factor) + 0.125, 2);
  }
  EXPECT_NEAR(sum / steps, 1.0, 4.0 * std::sqrt((std::exp(0.25) - 1.0) / steps));
  EXPECT_NEAR(squares / steps, 0.25, 4.0 * 0.25 * std::sqrt(2.0 / steps));
}

TEST(DurationSampler, RefusesWhatIsNoVariation) {
  const Program program = two_stages();
  const auto refused = [&](const Variation& variation) {
    return refusal(ExitCode::usage, [&] { return drawn(program, variation); });
  };
  EXPECT_EQ(refused({.slot_sigma = -0.1}), "jitter.op: expected a number from 0 to 3, found -0.1");
  EXPECT_THAT(refused({.transfer_sigma = 3.1}), HasSubstr("jitter.transfer:"));
  EXPECT_THAT(refused({.microbatch_sigma = std::numeric_limits<double>::quiet_NaN()}),
              HasSubstr("jitter.microbatch:"));
  EXPECT_EQ(refused({.stage_factors = {1.0}}),
            "jitter.stage_factors: expected none or 2 factors, one per stage; found 1");
  EXPECT_EQ(refused({.rank_factors = {1.0, 1001.0}}),
            "jitter.rank_factors: expected a number from 0 to 1000, found 1001");
}

TEST(DurationSampler, RefusesStepsThatNoClockHolds) {
  const Program program = two_stages();
  const CostModel costs = equal_costs(2, {.forward = Time(1'000'000'000'000'000'000)});
  const DurationSampler sampler(program, costs, {.rank_factors = {2.0, 2.0}});
  EXPECT_THAT(refusal(ExitCode::usage, [&] { return sampler.draw(1, 1); }),
              HasSubstr("lower the costs"));
}

}  // namespace
}  // namespace dualpipe
