#include "trace/calibrate.h"

#include <random>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/cost_model.h"
#include "costs/error.h"
#include "scheduler/compile.h"
#include "scheduler/generate.h"
#include "scheduler/op.h"
#include "scheduler/pipeline.h"
#include "sim/simulate.h"
#include "tests/support/random_schedule.h"
#include "tests/support/refusal.h"
#include "tests/support/schedules.h"
#include "tests/support/simulated.h"
#include "tests/support/timelines.h"
#include "trace/timeline.h"

namespace dualpipe {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

Timeline on_one_rank(std::string_view spans, int stages = 1) {
  return timeline_of(pipeline_on(looped_placement(1, stages), 9), {spans});
}

CostModel calibrated(const Timeline& timeline) {
  return resolve_costs(calibrate(timeline), timeline.pipeline.ranks(), timeline.pipeline.stages());
}

Timeline run(std::string_view family, const CostModel& costs, const Shape& shape) {
  return simulate(compile_or_throw(generate(find_family(family), shape)), costs);
}

// --- what was simulated with some costs shows these costs ---

TEST(Calibrate, GivesBackUniformCosts) {
  StageCosts stage = stage_costs({.forward = 100, .input = 120, .weight = 80, .overlapped = 250});
  stage.bytes.activation = 77;
  stage.bytes.weight_operands = 66;
  for (const char* family : {"dualpipe", "dualpipev"}) {
    const Shape shape{.ranks = 4, .microbatches = 12};
    const int stages = generate(find_family(family), shape).pipeline.stages();
    const CostModel costs = equal_costs(stages, stage, Time(9));
    EXPECT_EQ(calibrated(run(family, costs, shape)), costs) << family;
  }
}

// Without halves in the schedule only their sum shows, and without pairs no overlap does.
TEST(Calibrate, GivesBackPerStageCostsOfWholeBackwards) {
  for (const char* family : {"1f1b", "gpipe", "interleaved"}) {
    std::mt19937 random(11);
    const Shape shape{.ranks = 4, .microbatches = 8, .chunks = 2};
    const int stages = generate(find_family(family), shape).pipeline.stages();
    CostModel costs = random_costs(random, stages);
    costs.p2p = costs.p2p_latency = Time(13);
    costs.p2p_in_node = costs.p2p_in_node_latency = Time(13);
    for (StageCosts& stage : costs.stages) {
      stage.backward_weight = stage.backward_input;
      stage.overlapped = stage.forward + stage.backward();
    }
    EXPECT_EQ(calibrated(run(family, costs, shape)), costs) << family;
  }
}

TEST(Calibrate, GivesBackPerStageCostsOfHalves) {
  std::mt19937 random(12);
  CostModel costs = random_costs(random, 2);
  for (StageCosts& stage : costs.stages) {
    stage.overlapped = stage.forward + stage.backward();
  }
  const Timeline timeline = simulate(
      compile_or_throw(written("0F0 0F1 0I0 0I1 0W0 0W1\n1F0 1I0 1F1 1I1 1W0 1W1\n")), costs);
  EXPECT_EQ(calibrated(timeline).stages, costs.stages);
}

// Pairs always join the same two stages, so what each saves alone cannot be told apart - but every
// time that matters can: the simulation with the calibrated costs is the same.
TEST(Calibrate, PredictsTheSameTimelineAgain) {
  for (unsigned seed = 0; seed < 30; ++seed) {
    std::mt19937 random(seed);
    for (const char* family : {"dualpipe", "dualpipev"}) {
      const Shape shape{.ranks = 4, .microbatches = 10};
      const int stages = generate(find_family(family), shape).pipeline.stages();
      CostModel costs = random_costs(random, stages);
      for (StageCosts& stage : costs.stages) {
        stage.forward += Time(20);  // No pair is as short as its longer half, where savings hide,
        stage.backward_input += Time(20);
        stage.overlapped = stage.forward + stage.backward() -  // and no saving is odd.
                           Time(2 * draw(random, 0, 8));
      }
      const Timeline timeline = run(family, costs, shape);
      ASSERT_EQ(to_json(run(family, calibrated(timeline), shape)), to_json(timeline))
          << family << ", seed " << seed;
    }
  }
}

// --- by hand ---

TEST(Calibrate, TakesMeans) {
  const CostConfig config =
      calibrate(on_one_rank("0F0@0-10 0F1@10-30 0I0@30-34 0I1@34-42 0W0@42-44 0W1@44-47"));
  EXPECT_EQ(config.unit, "ns");
  EXPECT_EQ(config.per, "stage");
  EXPECT_THAT(config.forward.values, ElementsAre(15.0));
  EXPECT_THAT(config.backward_input.values, ElementsAre(6.0));
  EXPECT_THAT(config.backward_weight.values, ElementsAre(2.5));
  EXPECT_FALSE(config.overlapped);
  EXPECT_FALSE(config.p2p);
}

TEST(Calibrate, SplitsAWholeBackwardAsOtherStagesDoOrEvenly) {
  const CostConfig even = calibrate(on_one_rank("0F0@0-10 0B0@10-30"));
  EXPECT_THAT(even.backward_input.values, ElementsAre(10.0));
  EXPECT_THAT(even.backward_weight.values, ElementsAre(10.0));
  const CostConfig like_the_other =
      calibrate(on_one_rank("0F0@0-10 1F0@10-20 1I0@20-50 1W0@50-60 0B0@60-80", 2));
  EXPECT_THAT(like_the_other.backward_input.values, ElementsAre(15.0, 30.0));
  EXPECT_THAT(like_the_other.backward_weight.values, ElementsAre(5.0, 10.0));
}

// Apart 10 + 20; the pair took 24.
TEST(Calibrate, FindsWhatOverlappingSaves) {
  const CostConfig config =
      calibrate(on_one_rank("0F0@0-10 0F1@10-20 0B0@20-40 (0F2;0B1)OVERLAP_F_B@40-64 0B2@64-84"));
  EXPECT_THAT(config.overlapped.value_or(0.0).values, ElementsAre(24.0));
}

// Stage 0 only ever runs forward in a pair and stage 1 only backward: both had their part in it.
TEST(Calibrate, CreditsBothStagesOfAPair) {
  const CostConfig config = calibrate(on_one_rank(
      "0F0@0-10 1F0@10-20 (0F1;1B0)OVERLAP_F_B@20-44 0B0@44-64 1F1@64-74 1B1@74-94 0B1@94-114", 2));
  EXPECT_THAT(config.overlapped.value_or(0.0).values, ElementsAre(24.0, 24.0));
}

TEST(Calibrate, TakesBothReplicasTogether) {
  const Timeline timeline = timeline_of(
      pipeline_on(bidirectional_placement(2), 2),
      {"0F0@0-10 1F1@10-30 1B1@30-60 0B0@60-80", "0F1@0-20 1F0@20-30 1B0@30-50 0B1@60-90"});
  EXPECT_THAT(calibrate(timeline).forward.values, ElementsAre(15.0, 15.0));
}

// Only the first found its receiver waiting. The others came while it was busy, so how long they
// took says nothing.
TEST(Calibrate, TakesTransfersOnlyWhereTheReceiverWaited) {
  Timeline timeline =
      timeline_of(pipeline_on(linear_placement(2), 3),
                  {"0F0@0-10 0F1@10-20 0F2@20-25 0B0@200-210 0B1@210-220 0B2@220-230",
                   "1F0@15-60 1F1@60-70 1F2@70-75 1B0@100-110 1B1@110-120 1B2@120-130"});
  const auto activation = [](int microbatch, int begin, int end) {
    return Transfer{.value = {ValueKind::activation, 0, microbatch},
                    .source = 0,
                    .destination = 1,
                    .begin = Time(begin),
                    .end = Time(end)};
  };
  timeline.transfers = {activation(0, 10, 15), activation(1, 20, 21), activation(2, 25, 26)};
  EXPECT_EQ(calibrate(timeline).p2p, 5.0);
}

// A config that is read after another then leaves that one's transfers as they are.
TEST(Calibrate, SaysNothingOfTransfersWhereNoneWasAwaited) {
  EXPECT_FALSE(calibrate(on_one_rank("0F0@0-10 0B0@10-30")).p2p);
}

// Small messages took 30 ns and large ones 50: a line from 10 ns on. Half of them are of each size.
TEST(Calibrate, SplitsTransfersOfSeveralSizesIntoLatencyAndTheRest) {
  Timeline timeline = timeline_of(pipeline_on(linear_placement(2), 2),
                                  {"0F0@0-10 0F1@10-100 0B0@200-210 0B1@210-220",
                                   "1F0@40-50 1F1@150-160 1B0@160-170 1B1@170-180"});
  timeline.transfers = {{.value = {ValueKind::activation, 0, 0},
                         .source = 0,
                         .destination = 1,
                         .begin = Time(10),
                         .end = Time(40),
                         .bytes = 1000},
                        {.value = {ValueKind::activation, 0, 1},
                         .source = 0,
                         .destination = 1,
                         .begin = Time(100),
                         .end = Time(150),
                         .bytes = 2000}};
  const CostConfig config = calibrate(timeline);
  EXPECT_DOUBLE_EQ(config.p2p.value_or(0.0).value, 40.0);
  EXPECT_DOUBLE_EQ(config.p2p_latency.value_or(0.0).value, 10.0);
}

TEST(Calibrate, CarriesTheBytes) {
  Timeline timeline = on_one_rank("0F0@0-10 0B0@10-30");
  timeline.stage_bytes = {{.activation = 7, .weight_operands = 5}};
  EXPECT_THAT(calibrate(timeline).activation_bytes.values, ElementsAre(7.0));
  EXPECT_THAT(calibrate(timeline).weight_operand_bytes.values, ElementsAre(5.0));
}

TEST(Calibrate, RefusesAStageThatShowsTooLittle) {
  const auto refused = [](std::string_view spans) {
    return refusal(ExitCode::infeasible, [&] { return calibrate(on_one_rank(spans, 2)).p2p; });
  };
  EXPECT_THAT(refused("0F0@0-1 1B0@1-2 0B0@2-3"),
              AllOf(HasSubstr("stage 1 shows no forward of its own"), HasSubstr("such as 1f1b")));
  EXPECT_THAT(refused("0F0@0-1 1F0@1-2 1B0@2-3"), HasSubstr("stage 0 shows no backward"));
  EXPECT_THAT(refused("0F0@0-1 1F0@1-2 1I0@2-3 0B0@3-4"), HasSubstr("stage 1 shows no backward"));
}

}  // namespace
}  // namespace dualpipe
