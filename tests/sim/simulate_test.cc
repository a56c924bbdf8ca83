#include "sim/simulate.h"

#include <array>
#include <cstddef>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/cost_model.h"
#include "scheduler/compile.h"
#include "scheduler/generate.h"
#include "scheduler/program.h"
#include "scheduler/schedule.h"
#include "sim/durations.h"
#include "tests/support/schedules.h"
#include "tests/support/simulated.h"
#include "tests/support/timelines.h"
#include "trace/timeline.h"

namespace dualpipe {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(Simulate, OneFOneBByHand) {
  const Timeline timeline =
      simulated(written("0F0 0F1 0B0 0B1\n1F0 1B0 1F1 1B1\n"),
                stage_costs({.forward = 1, .input = 1, .weight = 1}), Time(1));
  EXPECT_EQ(spans_text(timeline, 0), "0F0@0-1 0F1@1-2 0B0@6-8 0B1@9-11");
  EXPECT_EQ(spans_text(timeline, 1), "1F0@2-3 1B0@3-5 1F1@5-6 1B1@6-8");
  EXPECT_EQ(transfers_text(timeline),
            "activation 0 of 0, 0->1 @1-2; activation 0 of 1, 0->1 @2-3; "
            "gradient 1 of 0, 1->0 @5-6; gradient 1 of 1, 1->0 @8-9");
}

TEST(Simulate, HalvesTakeTheirOwnTimesAndOnlyTheInputHalfIsWaitedFor) {
  const Timeline timeline = simulated(written("0F0 0I0 0W0\n1F0 1I0 1W0\n"),
                                      stage_costs({.forward = 3, .input = 5, .weight = 7}));
  EXPECT_EQ(spans_text(timeline, 1), "1F0@3-6 1I0@6-11 1W0@11-18");
  EXPECT_EQ(spans_text(timeline, 0), "0F0@0-3 0I0@11-16 0W0@16-23");
}

TEST(Simulate, EachStageHasItsOwnCostsAndTheTurnOfAVIsFree) {
  const Schedule schedule = written("0F0 3F0 3B0 0B0\n1F0 2F0 2B0 1B0\n");
  CostModel costs = equal_costs(4, stage_costs({.forward = 1, .input = 2, .weight = 0}), Time(10));
  costs.stages[2].forward = Time(4);
  costs.stages[3].backward_weight = Time(3);
  const Timeline timeline = simulate(compile_or_throw(schedule), costs);
  EXPECT_EQ(spans_text(timeline, 0), "0F0@0-1 3F0@26-27 3B0@27-32 0B0@56-58");
  EXPECT_EQ(spans_text(timeline, 1), "1F0@11-12 2F0@12-16 2B0@42-44 1B0@44-46");
}

// Apart F(0) + B(1) = 10 + 25; the stages save 5 and 7 by themselves, so this pair saves 6.
TEST(Simulate, APairTakesItsOverlappedTimeAndHandsOnBothResultsAtItsEnd) {
  const Schedule schedule = written("0F0 1F0 (0F1;1B0)OVERLAP_F_B 0B0 1F1 1B1 0B1\n");
  const CostModel costs{
      .stages = {stage_costs({.forward = 10, .input = 20, .weight = 5, .overlapped = 30}),
                 stage_costs({.forward = 8, .input = 20, .weight = 5, .overlapped = 26})},
      .p2p = Time(100)};
  EXPECT_EQ(spans_text(simulate(compile_or_throw(schedule), costs), 0),
            "0F0@0-10 1F0@10-18 (0F1;1B0)OVERLAP_F_B@18-47 0B0@47-72 1F1@72-80 1B1@80-105 "
            "0B1@105-130");
}

TEST(Simulate, CarriesPipelineAndBytes) {
  StageCosts stage = stage_costs({});
  stage.bytes.activation = 7;
  stage.bytes.weight_operands = 5;
  const Schedule schedule =
      written("name: mine\nplacement: 0 1\ndirection: 0*1\n0F0 0B0\n1F0 1B0\n");
  const Timeline timeline = simulated(schedule, stage);
  EXPECT_EQ(timeline.pipeline, schedule.pipeline);
  EXPECT_THAT(timeline.stage_bytes, ElementsAre(StageBytes{.activation = 7, .weight_operands = 5},
                                                StageBytes{.activation = 7, .weight_operands = 5}));
  EXPECT_EQ(schedule_of(timeline), schedule);
}

TEST(Simulate, ARankWithoutSlotsDoesNothing) {
  const Timeline timeline =
      simulated(written("placement: 0 2\ndirection: 0\n0F0 0B0\n\n1F0 1B0\n"), stage_costs({}));
  EXPECT_THAT(timeline.ranks[1], IsEmpty());
  EXPECT_EQ(makespan(timeline), Time(6));
}

TEST(Simulate, CostsOfNothingTakeNoTime) {
  const Timeline timeline =
      simulated("dualpipe", {.ranks = 4, .microbatches = 8}, stage_costs({0, 0, 0, 0}));
  EXPECT_EQ(makespan(timeline), Time(0));
}

// Transfers are eager: how a transport buffers decides whether a program is live, not its times.
TEST(Simulate, TimesDoNotDependOnHowTheTransportBuffers) {
  const Shape shape{.ranks = 4, .microbatches = 12, .chunks = 2};
  const StageCosts stage = stage_costs({.forward = 5, .input = 7, .weight = 2, .overlapped = 11});
  const std::array<TransportSemantics, 4> others{{
      {.receives_ahead = 0},
      {.receives_ahead = 50, .send_slots = 50},
      {.receives_ahead = 7, .send_slots = 5},
      {.topology = Topology::channel, .grouped = true, .receives_ahead = 0, .send_slots = 1},
  }};
  for (const Family* family : families()) {
    const Schedule schedule = quickly_generated(*family, shape);
    const CostModel costs = equal_costs(schedule.pipeline.stages(), stage, Time(3));
    const Timeline expected = simulate(compile_or_throw(schedule), costs);
    std::size_t live = 0;
    for (const TransportSemantics& semantics : others) {
      if (const Compilation compilation = compile(schedule, semantics); compilation.program) {
        EXPECT_EQ(simulate(*compilation.program, costs), expected) << family->name;
        ++live;
      }
    }
    EXPECT_GE(live, 2U) << family->name;
  }
}

// 0F1 takes 5 instead of 1, and its message 4 instead of 1.
TEST(Simulate, TakesDurationsOfItsOwnForEverySlotAndTransfer) {
  const Program program = compile_or_throw(written("0F0 0F1 0B0 0B1\n1F0 1B0 1F1 1B1\n"));
  const CostModel costs =
      equal_costs(2, stage_costs({.forward = 1, .input = 1, .weight = 1}), Time(1));
  StepDurations durations = nominal_durations(program, costs);
  EXPECT_EQ(simulate(program, costs, durations), simulate(program, costs));
  durations.slots[1] = Time(5);
  durations.transfers[1] = Time(4);
  const Timeline timeline = simulate(program, costs, durations);
  EXPECT_EQ(spans_text(timeline, 0), "0F0@0-1 0F1@1-6 0B0@6-8 0B1@14-16");
  EXPECT_EQ(spans_text(timeline, 1), "1F0@2-3 1B0@3-5 1F1@10-11 1B1@11-13");
  EXPECT_EQ(transfers_text(timeline),
            "activation 0 of 0, 0->1 @1-2; activation 0 of 1, 0->1 @6-10; "
            "gradient 1 of 0, 1->0 @5-6; gradient 1 of 1, 1->0 @13-14");
}

TEST(SimulateDeathTest, DurationsMustBeOfTheProgram) {
  const Program program = compile_or_throw(written("0F0 0B0\n1F0 1B0\n"));
  EXPECT_DEATH(
      static_cast<void>(simulate(program, equal_costs(2, stage_costs({})), StepDurations{})),
      "CHECK");
}

TEST(SimulateDeathTest, CostsAreNeededForEveryStage) {
  const Program program = compile_or_throw(written("0F0 0B0\n1F0 1B0\n"));
  EXPECT_DEATH(static_cast<void>(simulate(program, equal_costs(1, stage_costs({})))), "CHECK");
}

}  // namespace
}  // namespace dualpipe
