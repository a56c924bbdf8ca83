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
#include "scheduler/pipeline.h"
#include "tests/support/refusal.h"
#include "tests/support/simulated.h"
#include "tests/support/timelines.h"
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
      EXPECT_EQ(kind.predicted, kind.measured) << family->name << ", " << kind.kind;
    }
  }
}

TEST(Diff, ByHand) {
  const TimelineDiff difference =
      diff(on_two_ranks("0F0@0-10 0B0@30-50", "1F0@10-20 1I0@20-30 1W0@30-40"),
           on_two_ranks("0F0@0-12 0B0@40-60", "1F0@15-23 1I0@23-33 1W0@50-55"));
  EXPECT_DOUBLE_EQ(difference.step_time_error(), 60.0 / 50.0 - 1.0);
  ASSERT_EQ(difference.kinds.size(), 4U);
  const auto expect_kind = [&](std::size_t at, std::string_view name, int count, int predicted,
                               int measured) {
    EXPECT_EQ(difference.kinds[at].kind, name);
    EXPECT_EQ(difference.kinds[at].count, count);
    EXPECT_EQ(difference.kinds[at].predicted, Time(predicted));
    EXPECT_EQ(difference.kinds[at].measured, Time(measured));
  };
  expect_kind(0, "F", 2, 10, 10);
  expect_kind(1, "B", 1, 20, 20);
  expect_kind(2, "I", 1, 10, 10);
  expect_kind(3, "W", 1, 10, 5);
  EXPECT_EQ(difference.predicted.step_time, Time(50));
  EXPECT_EQ(difference.measured.step_time, Time(60));
}

TEST(Diff, PairsAreAKindOfTheirOwn) {
  const Timeline timeline = timeline_of(pipeline_on(linear_placement(1), 2),
                                        {"0F0@0-1 (0F1;0B0)OVERLAP_F_B@1-4 0B1@4-6"});
  EXPECT_THAT(
      diff(timeline, timeline).kinds,
      ElementsAre(AllOf(Field(&KindDifference::kind, "F"), Field(&KindDifference::count, 1)),
                  AllOf(Field(&KindDifference::kind, "B"), Field(&KindDifference::count, 1)),
                  AllOf(Field(&KindDifference::kind, "F&B"), Field(&KindDifference::count, 1),
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

TEST(DiffJson, IsTheDocumentedForm) {
  const TimelineDiff difference =
      diff(timeline_of(pipeline_on(linear_placement(1), 1), {"0F0@0-10 0B0@30-40"}),
           timeline_of(pipeline_on(linear_placement(1), 1), {"0F0@0-10 0B0@40-50"}));
  EXPECT_EQ(to_json(difference),
            R"({"schema_version":1,"step_time":{"predicted":40,"measured":50,"error":0.25},)"
            R"("bubble_ratio":{"predicted":0.5,"measured":0.6},"kinds":[)"
            R"({"predicted":10,"measured":10,"kind":"F","count":1},)"
            R"({"predicted":10,"measured":10,"kind":"B","count":1}],"ranks":[{"rank":0,)"
            R"("busy":{"predicted":20,"measured":20},)"
            R"("bubble_ratio":{"predicted":0.5,"measured":0.6}}]})"
            "\n");
}

}  // namespace
}  // namespace dualpipe
