#include "sim/tail.h"

#include <string>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/cost_model.h"
#include "scheduler/pipeline.h"
#include "tests/support/timelines.h"
#include "trace/metrics.h"
#include "trace/timeline.h"

namespace dualpipe {
namespace {

using testing::IsEmpty;

// "optimizer 1 @8-9" for every span of the rank's tail: stage 1.
std::string tail_text(const Timeline& timeline, int rank) {
  std::string text;
  for (const TailSpan& span : timeline.tail) {
    if (span.rank == rank) {
      text += fmt::format("{}{} {} @{}-{}", text.empty() ? "" : "; ", to_string(span.kind),
                          span.stage, span.begin.count(), span.end.count());
    }
  }
  return text;
}

CostModel costs_with(const std::vector<StageTail>& tails, Time gradient_norm) {
  CostModel costs;
  for (const StageTail& tail : tails) {
    costs.stages.push_back({.tail = tail});
  }
  costs.gradient_norm = gradient_norm;
  return costs;
}

Timeline with_tail(Timeline timeline, const CostModel& costs) {
  append_tail(timeline, costs);
  return timeline;
}

// Rank 1 is done first and reduces while rank 0 still computes; the norm is known 2 after rank 0's
// reduction.
TEST(AppendTail, ReducesBesideTheCoolDownAndWaitsForTheNorm) {
  const Timeline timeline = with_tail(
      timeline_of(pipeline_on(linear_placement(2), 1), {"0F0@0-1 0B0@6-10", "1F0@1-2 1B0@2-6"}),
      costs_with({{.gradient_reduce = Time(3), .optimizer = Time(5), .parameter_gather = Time(1)},
                  {.gradient_reduce = Time(2), .optimizer = Time(4)}},
                 Time(2)));
  EXPECT_EQ(tail_text(timeline, 0),
            "gradient_reduce 0 @10-13; gradient_norm 0 @13-15; optimizer 0 @15-20; "
            "parameter_gather 0 @20-21");
  EXPECT_EQ(tail_text(timeline, 1),
            "gradient_reduce 1 @6-8; gradient_norm 0 @8-15; optimizer 1 @15-19");
  EXPECT_EQ(makespan(timeline), Time(21));
  const Metrics metrics = measure(timeline);
  EXPECT_EQ(metrics.ranks[0].busy, Time(1 + 4 + 5));
  EXPECT_EQ(metrics.ranks[1].idle, Time(21 - (1 + 4 + 4)));
}

TEST(AppendTail, PostValidationWaitsForNobody) {
  CostModel costs = costs_with({{.gradient_reduce = Time(3), .optimizer = Time(5)},
                                {.gradient_reduce = Time(2), .optimizer = Time(4)}},
                               Time(2));
  costs.post_validation = true;
  const Timeline timeline = with_tail(
      timeline_of(pipeline_on(linear_placement(2), 1), {"0F0@0-1 0B0@6-10", "1F0@1-2 1B0@2-6"}),
      costs);
  EXPECT_EQ(tail_text(timeline, 0), "gradient_reduce 0 @10-13; optimizer 0 @13-18");
  EXPECT_EQ(tail_text(timeline, 1), "gradient_reduce 1 @6-8; optimizer 1 @8-12");
}

// Both ranks have both stages. Stage 0 is complete on rank 1 at 6 and on rank 0 at 9, stage 1 at 7
// and 12: each exchange begins at the later of the two, and keeps both ranks' lanes.
TEST(AppendTail, ReplicasExchangeTheirGradientsOnceBothHaveThem) {
  const Pipeline pipeline = pipeline_on(bidirectional_placement(2), 2);
  const Timeline timeline = with_tail(
      timeline_of(pipeline,
                  {"0F0@0-1 1F1@1-2 0B0@8-9 1B1@11-12", "0F1@0-1 1F0@1-2 0B1@5-6 1B0@6-7"}),
      costs_with(
          {{.replica_reduce = Time(4), .gradient_reduce = Time(1)}, {.replica_reduce = Time(2)}},
          Time(0)));
  const std::string same =
      "replica_reduce 0 @9-13; gradient_reduce 0 @13-14; replica_reduce 1 @14-16";
  EXPECT_EQ(tail_text(timeline, 0), same);
  EXPECT_EQ(tail_text(timeline, 1), same);
}

// One microbatch goes one way, so no rank computes for its other stage; but it holds that stage's
// parameters, which must stay those of the replica. Stage 0 is complete on rank 0 at 8, stage 1 on
// rank 1 at 6.
TEST(AppendTail, AReplicaWithoutAMicrobatchReducesAndUpdatesLikeTheOther) {
  const Timeline timeline =
      with_tail(timeline_of(pipeline_on(bidirectional_placement(2), 1),
                            {"0F0@0-1 0B0@6-8", "1F0@1-4 1B0@4-6"}),
                costs_with({{.replica_reduce = Time(4), .optimizer = Time(1)},
                            {.replica_reduce = Time(3), .optimizer = Time(2)}},
                           Time(5)));
  // Stage 1 keeps both ranks from 6 to 9, stage 0 from 9 to 13; the norm is known at 18.
  const std::string reductions = "replica_reduce 1 @6-9; replica_reduce 0 @9-13; ";
  const std::string norm = "gradient_norm 0 @13-18; ";
  EXPECT_EQ(tail_text(timeline, 0), reductions + norm + "optimizer 1 @18-20; optimizer 0 @20-21");
  EXPECT_EQ(tail_text(timeline, 1), reductions + norm + "optimizer 0 @18-19; optimizer 1 @19-21");
}

// A stage's parameters are gathered while the next stage's optimizer runs.
TEST(AppendTail, GathersBesideTheNextOptimizer) {
  const Timeline timeline =
      with_tail(timeline_of(pipeline_on(v_placement(1), 1), {"0F0@0-1 1F0@1-2 1B0@2-4 0B0@4-6"}),
                costs_with({{.optimizer = Time(1), .parameter_gather = Time(1)},
                            {.optimizer = Time(2), .parameter_gather = Time(7)}},
                           Time(0)));
  EXPECT_EQ(tail_text(timeline, 0),
            "optimizer 1 @6-8; optimizer 0 @8-9; parameter_gather 1 @8-15; "
            "parameter_gather 0 @15-16");
}

TEST(AppendTail, IsNoneForInferenceAndWhereItCostsNothing) {
  const Pipeline pipeline = pipeline_on(linear_placement(1), 1);
  EXPECT_THAT(
      with_tail(timeline_of(pipeline, {"0F0@0-1"}), costs_with({{.optimizer = Time(1)}}, Time(1)))
          .tail,
      IsEmpty());
  EXPECT_THAT(with_tail(timeline_of(pipeline, {"0F0@0-1 0B0@1-2"}), costs_with({{}}, Time(0))).tail,
              IsEmpty());
}

}  // namespace
}  // namespace dualpipe
