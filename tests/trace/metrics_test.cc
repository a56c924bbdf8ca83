#include "trace/metrics.h"

#include <cstddef>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/cost_model.h"
#include "scheduler/memory.h"
#include "scheduler/pipeline.h"
#include "tests/support/timelines.h"
#include "trace/timeline.h"

namespace dualpipe {
namespace {

using testing::ElementsAre;
using testing::Field;

// Two ranks, two microbatches, F = 10, B = 20, no transfers.
Timeline small_1f1b() {
  return timeline_of(
      pipeline_on(linear_placement(2), 2),
      {"0F0@0-10 0F1@10-20 0B0@40-60 0B1@70-90", "1F0@10-20 1B0@20-40 1F1@40-50 1B1@50-70"});
}

// One rank, so that memory is what is looked at.
Timeline one_rank(std::string_view spans, const StageBytes& bytes, int stages = 1) {
  const Placement placement = looped_placement(1, stages);
  Timeline timeline = timeline_of(pipeline_on(placement, 9), {spans});
  timeline.stage_bytes.assign(static_cast<std::size_t>(stages), bytes);
  return timeline;
}

RankMetrics only_rank(const Timeline& timeline) {
  const Metrics metrics = measure(timeline);
  EXPECT_EQ(metrics.ranks.size(), 1U);
  return metrics.ranks.front();
}

TEST(Measure, TimesByHand) {
  const Metrics metrics = measure(small_1f1b());
  EXPECT_EQ(metrics.step_time, Time(90));
  EXPECT_EQ(metrics.longest_rank_time, Time(90));
  EXPECT_DOUBLE_EQ(metrics.bubble_ratio, 1.0 - 120.0 / 180.0);
  ASSERT_EQ(metrics.ranks.size(), 2U);
  EXPECT_EQ(metrics.ranks[1].begin, Time(10));
  EXPECT_EQ(metrics.ranks[1].end, Time(70));
  EXPECT_EQ(metrics.ranks[1].busy, Time(60));
  EXPECT_EQ(metrics.ranks[1].idle, Time(30));
  EXPECT_DOUBLE_EQ(metrics.ranks[1].bubble_ratio, 30.0 / 90.0);
  EXPECT_THAT(metrics.ranks, ElementsAre(Field(&RankMetrics::peak_activations, 2),
                                         Field(&RankMetrics::peak_activations, 1)));
}

// The step begins with the first rank and ends with the last; no rank need be there all the time.
TEST(Measure, StepTimeIsOverAllRanksAndLongestRankTimeOverOne) {
  const Metrics metrics = measure(timeline_of(pipeline_on(linear_placement(2), 1),
                                              {"0F0@5-10 0B0@20-35", "1F0@10-12 1B0@12-50"}));
  EXPECT_EQ(metrics.step_time, Time(45));
  EXPECT_EQ(metrics.longest_rank_time, Time(40));
}

TEST(Measure, OfNothingIsZero) {
  const Metrics metrics = measure(timeline_of(pipeline_on(linear_placement(2), 1), {"", ""}));
  EXPECT_EQ(metrics.step_time, Time(0));
  EXPECT_EQ(metrics.bubble_ratio, 0.0);
  EXPECT_EQ(metrics.ranks[1].peak_memory.total(), 0);
  EXPECT_EQ(metrics.ranks[1].bubble_ratio, 0.0);
}

TEST(Measure, ARankWithoutSlotsIsIdleAllTheTime) {
  const Metrics metrics = measure(timeline_of(
      {.name = "gap", .placement = {.ranks = 2, .rank_of_stage = {{0}}}, .direction = {0}},
      {"0F0@0-1 0B0@1-4", ""}));
  EXPECT_EQ(metrics.ranks[1].idle, Time(4));
  EXPECT_DOUBLE_EQ(metrics.ranks[1].bubble_ratio, 1.0);
  EXPECT_DOUBLE_EQ(metrics.bubble_ratio, 0.5);
}

// A forward that begins where a backward ends finds its memory free again.
TEST(Memory, ABackwardFreesItsActivationAtItsEnd) {
  const RankMetrics metrics =
      only_rank(one_rank("0F0@0-1 0F1@1-2 0B0@2-4 0F2@4-5 0B1@5-7 0B2@7-9", {.activation = 100}));
  EXPECT_EQ(metrics.peak_activations, 2);
  EXPECT_EQ(metrics.peak_memory.total(), 200);
}

// While a pair runs, its forward's activation is there already and its backward's still.
TEST(Memory, APairHoldsBothUntilItsEnd) {
  const RankMetrics metrics =
      only_rank(one_rank("0F0@0-1 (0F1;0B0)OVERLAP_F_B@1-4 0B1@4-6", {.activation = 100}));
  EXPECT_EQ(metrics.peak_activations, 2);
  EXPECT_EQ(metrics.peak_memory.total(), 200);
}

// At the end of I the activation goes and the smaller operands stay until the end of W.
TEST(Memory, AnInputHalfLeavesOperandsToItsWeightHalf) {
  const StageBytes bytes{.activation = 100, .weight_operands = 30};
  const RankMetrics metrics = only_rank(
      one_rank("0F0@0-1 0I0@1-2 0F1@2-3 0I1@3-4 0F2@4-5 0W0@5-6 0I2@6-7 0W1@7-8 0W2@8-9", bytes));
  EXPECT_EQ(metrics.peak_activations, 3);  // stages' activations count to the end of W
  EXPECT_EQ(metrics.peak_memory.total(), 100 + 2 * 30);
}

TEST(Memory, OperandsMayBeLargerThanTheActivation) {
  const RankMetrics metrics =
      only_rank(one_rank("0F0@0-1 0I0@1-2 0W0@2-3", {.activation = 100, .weight_operands = 150}));
  EXPECT_EQ(metrics.peak_memory.total(), 150);
}

// The peak of a second round is that of the first only if the first has left nothing behind.
TEST(Memory, ReturnsToZero) {
  const StageBytes bytes{.activation = 100, .weight_operands = 60};
  const RankMetrics metrics = only_rank(
      one_rank("0F0@0-1 0I0@1-2 0W0@2-3 0F1@3-4 0B1@4-6 0F2@6-7 (0F3;0B2)OVERLAP_F_B@7-9 0I3@9-10 "
               "0W3@10-11 0F4@11-12 (0F5;0B4)OVERLAP_F_B@12-14 0B5@14-16",
               bytes));
  EXPECT_EQ(metrics.peak_activations, 2);
  EXPECT_EQ(metrics.peak_memory.total(), 200);
}

TEST(Memory, EachStageHasItsOwnSize) {
  Timeline timeline = one_rank("0F0@0-1 1F0@1-2 1B0@2-3 0B0@3-4", {}, 2);
  timeline.stage_bytes = {{.activation = 100}, {.activation = 7}};
  EXPECT_EQ(only_rank(timeline).peak_memory.total(), 107);
}

TEST(Memory, IsZeroWhereTheTimelineSaysNoBytes) {
  Timeline timeline = one_rank("0F0@0-1 0B0@1-3", {});
  timeline.stage_bytes.clear();
  EXPECT_EQ(only_rank(timeline).peak_memory.total(), 0);
  EXPECT_EQ(only_rank(timeline).peak_activations, 1);
}

// Keys and their order are part of the format.
TEST(MetricsJson, IsTheDocumentedForm) {
  const Timeline timeline = small_1f1b();
  EXPECT_EQ(
      to_json(measure(timeline), timeline.pipeline),
      R"({"schema_version":1,"schedule":{"name":"hand-made","ranks":2,"stages":2,)"
      R"("microbatches":2,"chunks":1,"directions":1},"step_time":90,"longest_rank_time":90,)"
      R"("bubble_ratio":0.3333333333333333,"ranks":[)"
      R"({"rank":0,"begin":0,"end":90,"busy":60,"idle":30,"bubble_ratio":0.3333333333333333,)"
      R"("peak_activations":2,"peak_bytes":0},)"
      R"({"rank":1,"begin":10,"end":70,"busy":60,"idle":30,"bubble_ratio":0.3333333333333333,)"
      R"("peak_activations":1,"peak_bytes":0}]})"
      "\n");
}

TEST(MetricsCsv, HasTheSameNumbersUnderAHeader) {
  EXPECT_EQ(to_csv(measure(small_1f1b())),
            "rank,begin,end,busy,idle,bubble_ratio,peak_activations,peak_bytes\n"
            "0,0,90,60,30,0.3333333333333333,2,0\n"
            "1,10,70,60,30,0.3333333333333333,1,0\n");
}

TEST(Metrics, ATimelineIsInferenceWhereItsScheduleIs) {
  const Pipeline pipeline = pipeline_on(linear_placement(1), 1);
  EXPECT_EQ(purpose_of(timeline_of(pipeline, {"0F0@0-1"})), MemoryPurpose::inference);
  EXPECT_EQ(purpose_of(timeline_of(pipeline, {"0F0@0-1 0I0@1-2"})), MemoryPurpose::training);
  EXPECT_EQ(purpose_of(timeline_of(pipeline, {""})), MemoryPurpose::training);
}

// In inference nobody waits for an activation once its forward has ended and it has been handed on.
TEST(Metrics, InferenceKeepsAnActivationOnlyDuringItsForward) {
  const RankMetrics rank = only_rank(
      one_rank("0F0@0-10 1F0@10-20 0F1@20-30", {.activation = 7, .weight_operands = 3}, 2));
  EXPECT_EQ(rank.peak_activations, 1);
  EXPECT_EQ(rank.peak_memory.total(), 7);
}

}  // namespace
}  // namespace dualpipe
