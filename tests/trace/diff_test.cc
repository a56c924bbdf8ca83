#include "trace/diff.h"

#include <cstddef>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/cost_model.h"
#include "costs/error.h"
#include "scheduler/generate.h"
#include "scheduler/op.h"
#include "scheduler/pipeline.h"
#include "tests/support/refusal.h"
#include "tests/support/simulated.h"
#include "tests/support/timelines.h"
#include "trace/attribution.h"
#include "trace/slot_kind.h"
#include "trace/timeline.h"

namespace dualpipe {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::Field;
using testing::HasSubstr;

Timeline on_two_ranks(std::string_view first, std::string_view second) {
  return timeline_of(pipeline_on(linear_placement(2), 2), {first, second});
}

std::string refusal_of(const Timeline& predicted, const Timeline& measured) {
  return refusal(ExitCode::invalid_schedule,
                 [&] { return diff(predicted, measured).kinds.size(); });
}

TEST(Diff, OfEqualTimelinesIsZero) {
  for (const Family* family : families()) {
    const Timeline timeline =
        simulated(family->name, {.ranks = 4, .microbatches = 8, .chunks = 2}, stage_costs({}));
    const TimelineDiff difference = diff(timeline, timeline);
    EXPECT_EQ(difference.step_time_error(), 0.0) << family->name;
    for (const KindDifference& kind : difference.kinds) {
      EXPECT_EQ(kind.predicted, kind.measured) << family->name << ", " << to_string(kind.kind);
    }
  }
}

TEST(Diff, ByHand) {
  const TimelineDiff difference =
      diff(on_two_ranks("0F0@0-10 0B0@30-50", "1F0@10-20 1I0@20-30 1W0@30-40"),
           on_two_ranks("0F0@0-12 0B0@40-60", "1F0@15-23 1I0@23-33 1W0@50-55"));
  EXPECT_DOUBLE_EQ(difference.step_time_error(), 60.0 / 50.0 - 1.0);
  ASSERT_EQ(difference.kinds.size(), 4U);
  const auto expect_kind = [&](std::size_t at, SlotKind kind, int count, int predicted,
                               int measured) {
    EXPECT_EQ(difference.kinds[at].kind, kind);
    EXPECT_EQ(difference.kinds[at].count, count);
    EXPECT_EQ(difference.kinds[at].predicted, Time(predicted));
    EXPECT_EQ(difference.kinds[at].measured, Time(measured));
  };
  expect_kind(0, SlotKind::forward, 2, 10, 10);
  expect_kind(1, SlotKind::backward, 1, 20, 20);
  expect_kind(2, SlotKind::backward_input, 1, 10, 10);
  expect_kind(3, SlotKind::backward_weight, 1, 10, 5);
  EXPECT_EQ(difference.predicted.step_time, Time(50));
  EXPECT_EQ(difference.measured.step_time, Time(60));
}

TEST(Diff, PairsAreAKindOfTheirOwn) {
  const Timeline timeline = timeline_of(pipeline_on(linear_placement(1), 2),
                                        {"0F0@0-1 (0F1;0B0)OVERLAP_F_B@1-4 0B1@4-6"});
  EXPECT_THAT(
      diff(timeline, timeline).kinds,
      ElementsAre(
          AllOf(Field(&KindDifference::kind, SlotKind::forward), Field(&KindDifference::count, 1)),
          AllOf(Field(&KindDifference::kind, SlotKind::backward), Field(&KindDifference::count, 1)),
          AllOf(Field(&KindDifference::kind, SlotKind::pair), Field(&KindDifference::count, 1),
                Field(&KindDifference::predicted, Time(3)))));
}

TEST(Diff, OfAPredictionOfNothingIsInfinitelyFarOff) {
  const Timeline nothing = timeline_of(pipeline_on(linear_placement(1), 1), {"0F0@0-0 0B0@0-0"});
  const Timeline something = timeline_of(pipeline_on(linear_placement(1), 1), {"0F0@0-1 0B0@1-3"});
  EXPECT_EQ(diff(nothing, something).step_time_error(), std::numeric_limits<double>::infinity());
  EXPECT_EQ(diff(nothing, nothing).step_time_error(), 0.0);
  EXPECT_EQ(diff(something, nothing).step_time_error(), -1.0);
}

TEST(Diff, RefusesAnotherScheduleNamingTheFirstSlotThatDiffers) {
  const Timeline one = on_two_ranks("0F0@0-1 0F1@1-2", "1F0@1-2 1B0@2-4");
  EXPECT_THAT(refusal_of(one, on_two_ranks("0F0@0-1 0F1@1-2", "1F0@1-2 1F1@2-3")),
              AllOf(HasSubstr("not of the same schedule"),
                    HasSubstr("slot 1 of rank 1 is 1B0 in the first and 1F1 in the second"),
                    HasSubstr("simulate the schedule that was run")));
  EXPECT_THAT(refusal_of(one, on_two_ranks("0F0@0-1", "1F0@1-2 1B0@2-4")),
              HasSubstr("rank 0 has 2 slots in the first and 1 in the second"));
  EXPECT_THAT(
      refusal_of(one, timeline_of(pipeline_on(linear_placement(1), 2), {"0F0@0-1 0F1@1-2"})),
      HasSubstr("the first has 2 ranks, the second 1"));
}

// The same slots, but of another pipeline.
TEST(Diff, RefusesAnotherPipeline) {
  const auto on = [](const Placement& placement, int microbatches) {
    return timeline_of(pipeline_on(placement, microbatches), {"0F0@0-1", ""});
  };
  const Timeline one = on(linear_placement(2), 2);
  EXPECT_THAT(refusal_of(one, on(looped_placement(2, 2), 2)),
              HasSubstr("the first has 2 stages, the second 4"));
  EXPECT_THAT(refusal_of(one, on(linear_placement(2), 3)),
              HasSubstr("the first has 2 microbatches, the second 3"));
  EXPECT_THAT(refusal_of(one, on({.ranks = 2, .rank_of_stage = {{1, 0}}}, 2)),
              HasSubstr("their stages lie on different ranks"));
  Timeline turned = on(bidirectional_placement(2), 2);
  turned.pipeline.direction = {1, 0};
  EXPECT_THAT(refusal_of(on(bidirectional_placement(2), 2), turned),
              HasSubstr("their microbatches go different ways"));
}

// --- causes ---

// Two ranks, one microbatch, a transfer of 2 predicted. Measured: the forward of rank 0 took 3
// more, the activation's transfer 5 more.
struct Late {
  Timeline predicted = two_ranks("0F0@0-10 0B0@44-64", "1F0@12-22 1B0@22-42", 12, 44);
  Timeline measured = two_ranks("0F0@0-13 0B0@52-72", "1F0@20-30 1B0@30-50", 20, 52);

  static Timeline two_ranks(std::string_view first, std::string_view second, int down, int up) {
    Timeline timeline = timeline_of(pipeline_on(linear_placement(2), 1), {first, second});
    timeline.transfers = {{.value = {ValueKind::activation, 0, 0},
                           .source = 0,
                           .destination = 1,
                           .begin = timeline.ranks[0][0].end,
                           .end = Time(down)},
                          {.value = {ValueKind::input_gradient, 1, 0},
                           .source = 1,
                           .destination = 0,
                           .begin = timeline.ranks[1][1].end,
                           .end = Time(up)}};
    return timeline;
  }
};

// Rank 1 waits to begin for 10 of computing and 2 of transfer as predicted, and for what came on
// top; at the end for another 2 of transfer and rank 0's backward. Rank 0 waits for both transfers;
// its own forward is busy time.
TEST(DiffCauses, PutWhatWasNotPredictedDownToJitterAndContention) {
  const Late late;
  const TimelineDiff difference = diff(late.predicted, late.measured);
  EXPECT_EQ(difference.without_causes, "");
  ASSERT_EQ(difference.ranks.size(), 2U);
  const RankDifference& second = difference.ranks[1];
  EXPECT_EQ(second.predicted.warm_up, Time(10));
  EXPECT_EQ(second.predicted.transfer, Time(2 + 2));
  EXPECT_EQ(second.predicted.contention, Time(0));
  EXPECT_EQ(second.measured.transfer, Time(2 + 2));
  EXPECT_EQ(second.measured.warm_up, Time(10));
  EXPECT_EQ(second.measured.jitter - second.predicted.jitter, Time(3));
  EXPECT_EQ(second.measured.contention - second.predicted.contention, Time(5));
  const RankDifference& first = difference.ranks[0];
  EXPECT_EQ(first.measured.contention - first.predicted.contention, Time(5));
  EXPECT_EQ(first.measured.jitter, first.predicted.jitter);
}

// What a rank does in a step, busy or idle, adds up to the step: so do the differences.
TEST(DiffCauses, AddUpToTheIdleTimeOfEveryRank) {
  const Late late;
  const TimelineDiff difference = diff(late.predicted, late.measured);
  for (std::size_t rank = 0; rank < 2; ++rank) {
    EXPECT_EQ(difference.ranks[rank].predicted.total(), difference.predicted.ranks[rank].idle);
    EXPECT_EQ(difference.ranks[rank].measured.total(), difference.measured.ranks[rank].idle);
  }
}

TEST(DiffCauses, OfARankAreBesideItsKinds) {
  const Late late;
  const RankDifference first = diff(late.predicted, late.measured).ranks[0];
  ASSERT_EQ(first.kinds.size(), 2U);
  EXPECT_EQ(first.kinds[0].predicted_total, Time(10));
  EXPECT_EQ(first.kinds[0].measured_total, Time(13));
  EXPECT_EQ(first.kinds[1].predicted_total, Time(20));
}

TEST(DiffCauses, SayWhyTheyCannotBeTold) {
  const Late late;
  Timeline silent = late.measured;
  silent.transfers.clear();
  const TimelineDiff difference = diff(late.predicted, silent);
  EXPECT_THAT(difference.without_causes, HasSubstr("transfer"));
  EXPECT_EQ(difference.ranks[0].measured, IdleCauses{});
  EXPECT_THAT(to_json(difference), HasSubstr("\"causes\":null"));
}

TEST(DiffCsv, IsTheDocumentedForm) {
  const TimelineDiff difference =
      diff(timeline_of(pipeline_on(linear_placement(1), 1), {"0F0@0-10 0B0@30-40"}),
           timeline_of(pipeline_on(linear_placement(1), 1), {"0F0@0-10 0B0@40-50"}));
  EXPECT_EQ(to_csv(difference),
            "of,rank,name,count,predicted,measured\nstep,,step_time,,40,50\n"
            "slots,0,F,1,10,10\nslots,0,B,1,10,10\nrank,0,busy,,20,20\nrank,0,idle,,20,30\n"
            "idle,0,warm_up,,0,0\nidle,0,cool_down,,0,0\nidle,0,dependency,,0,0\n"
            "idle,0,transfer,,0,0\nidle,0,contention,,0,0\nidle,0,imbalance,,0,0\n"
            "idle,0,jitter,,0,0\nidle,0,barrier,,0,0\nidle,0,unexplained,,20,30\n");
}

TEST(DiffJson, IsTheDocumentedForm) {
  const TimelineDiff difference =
      diff(timeline_of(pipeline_on(linear_placement(1), 1), {"0F0@0-10 0B0@30-40"}),
           timeline_of(pipeline_on(linear_placement(1), 1), {"0F0@0-10 0B0@40-50"}));
  const std::string kinds = R"([{"predicted":10,"measured":10,"kind":"F","count":1},)"
                            R"({"predicted":10,"measured":10,"kind":"B","count":1}])";
  const std::string none = R"(:{"predicted":0,"measured":0},)";
  const std::string causes = R"({"warm_up")" + none + R"("cool_down")" + none + R"("dependency")" +
                             none + R"("transfer")" + none + R"("contention")" + none +
                             R"("imbalance")" + none + R"("jitter")" + none + R"("barrier")" +
                             none + R"("unexplained":{"predicted":20,"measured":30}})";
  EXPECT_EQ(to_json(difference),
            R"({"schema_version":1,"step_time":{"predicted":40,"measured":50,"error":0.25},)"
            R"("bubble_ratio":{"predicted":0.5,"measured":0.6},"kinds":)" +
                kinds + R"(,"ranks":[{"rank":0,"busy":{"predicted":20,"measured":20},)" +
                R"("idle":{"predicted":20,"measured":30},)"
                R"("bubble_ratio":{"predicted":0.5,"measured":0.6},"kinds":)" +
                kinds + R"(,"causes":)" + causes + R"(}],"causes":)" + causes +
                R"(,"without_causes":""})"
                "\n");
}

}  // namespace
}  // namespace dualpipe
