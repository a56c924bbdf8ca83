#include "trace/attribution.h"

#include <cstddef>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "costs/cost_model.h"
#include "costs/error.h"
#include "scheduler/compile.h"
#include "scheduler/generate.h"
#include "scheduler/pipeline.h"
#include "scheduler/schedule.h"
#include "scheduler/text.h"
#include "sim/simulate.h"
#include "tests/support/linear_transfers.h"
#include "tests/support/random_schedule.h"
#include "tests/support/refusal.h"
#include "tests/support/schedules.h"
#include "tests/support/simulated.h"
#include "tests/support/timelines.h"
#include "trace/metrics.h"
#include "trace/timeline.h"

namespace dualpipe {
namespace {

// Microbatches through linear ranks.
Timeline linear(const std::vector<std::string_view>& ranks, int microbatches,
                std::vector<Transfer> transfers) {
  const Placement placement = linear_placement(static_cast<int>(ranks.size()));
  Timeline timeline = timeline_of(pipeline_on(placement, microbatches), ranks);
  timeline.transfers = std::move(transfers);
  return timeline;
}

// "warm_up 7, transfer 3": the causes that there are.
std::string text_of(const IdleCauses& causes) {
  std::string text;
  for (const IdleCause& cause : idle_causes) {
    if (causes.*cause.time != Time{}) {
      text += (text.empty() ? "" : ", ") + std::string(cause.name) + " " +
              std::to_string((causes.*cause.time).count());
    }
  }
  return text;
}

std::vector<std::string> texts_of(const Timeline& timeline, const CostModel& costs) {
  std::vector<std::string> texts;
  for (const IdleCauses& causes : attribute_idle(timeline, costs)) {
    texts.push_back(text_of(causes));
  }
  return texts;
}

using Texts = std::vector<std::string>;

// --- by hand ---

TEST(AttributeIdle, FillsWaitsAndEmptiesWhereNothingElseHappens) {
  const CostModel costs = equal_costs(2, stage_costs({.forward = 10, .input = 10, .weight = 10}));
  const Timeline timeline = linear(
      {"0F0@0-10 0F1@10-20 0B0@40-60 0B1@70-90", "1F0@10-20 1B0@20-40 1F1@40-50 1B1@50-70"}, 2,
      {activation(0, 0, 10, 10), activation(0, 1, 20, 20), gradient(1, 0, 40, 40),
       gradient(1, 1, 70, 70)});
  EXPECT_EQ(texts_of(timeline, costs), Texts({"dependency 30", "warm_up 10, cool_down 20"}));
}

// Stage 0 costs 10 + 15, stage 1 costs 4 + 10: means 7 and 12. Transfers should take 3; the first
// takes 7. 1F0 takes 5.
TEST(AttributeIdle, TellsExcessFromWhatHadToBe) {
  const CostModel costs{
      .stages = {stage_costs({.forward = 10, .input = 7, .weight = 8, .overlapped = 25}),
                 stage_costs({.forward = 4, .input = 6, .weight = 4, .overlapped = 14})},
      .p2p = Time(3)};
  const Timeline timeline = linear({"0F0@0-10 0B0@35-50", "1F0@17-22 1B0@22-32"}, 1,
                                   {activation(0, 0, 10, 17), gradient(1, 0, 32, 35)});
  EXPECT_EQ(texts_of(timeline, costs),
            Texts({"dependency 14, transfer 6, contention 4, jitter 1",
                   "warm_up 7, cool_down 12, transfer 6, contention 4, imbalance 6"}));
}

// Rank 1 waits for the second half of a forward that takes twice its time: had it taken no longer
// than it should, there would have been no wait.
TEST(AttributeIdle, BlamesTheExcessOfASlotFirst) {
  const CostModel costs = equal_costs(2, stage_costs({.forward = 10}));
  const Timeline timeline = linear({"0F0@0-10 0F1@10-30", "1F0@10-20 1F1@30-40"}, 2,
                                   {activation(0, 0, 10, 10), activation(0, 1, 30, 30)});
  EXPECT_EQ(texts_of(timeline, costs), Texts({"cool_down 10", "warm_up 10, jitter 10"}));
}

// The same for a stage that costs 20 where the mean is 15.
TEST(AttributeIdle, BlamesTheExcessOfAStageFirst) {
  const CostModel costs{.stages = {stage_costs({.forward = 20}), stage_costs({.forward = 10})},
                        .p2p = {}};
  const Timeline timeline = linear({"0F0@0-20 0F1@20-40", "1F0@20-30 1F1@40-50"}, 2,
                                   {activation(0, 0, 20, 20), activation(0, 1, 40, 40)});
  EXPECT_EQ(texts_of(timeline, costs),
            Texts({"cool_down 10", "warm_up 15, dependency 5, imbalance 10"}));
}

// Ops that take no time, and a norm that takes 5.
TEST(AttributeIdle, OfAStepWithoutSlotsThatTakeTimeIsAllBarrier) {
  const CostModel costs = equal_costs(2, {});
  Timeline timeline = linear({"0F0@0-0", "1F0@0-0"}, 1, {activation(0, 0, 0, 0)});
  for (const int rank : {0, 1}) {
    timeline.tail.push_back({.kind = TailKind::gradient_norm,
                             .rank = rank,
                             .stage = rank,
                             .begin = Time(0),
                             .end = Time(5)});
  }
  EXPECT_EQ(texts_of(timeline, costs), Texts({"barrier 5", "barrier 5"}));
}

TEST(AttributeIdle, AdmitsWhatNothingExplains) {
  const CostModel costs = equal_costs(2, stage_costs({.forward = 10}));
  const Timeline timeline = linear({"0F0@2-12", "1F0@17-27"}, 1, {activation(0, 0, 12, 14)});
  EXPECT_EQ(texts_of(timeline, costs), Texts({"cool_down 10, contention 2, unexplained 3",
                                              "warm_up 10, contention 2, unexplained 3"}));
}

// The clock of rank 1 is late: it seems to begin before the message is there.
TEST(AttributeIdle, AddsUpWhereClocksDisagree) {
  const CostModel costs = equal_costs(2, stage_costs({.forward = 10}), Time(3));
  const Timeline timeline = linear({"0F0@0-10", "1F0@8-18"}, 1, {activation(0, 0, 11, 14)});
  EXPECT_EQ(texts_of(timeline, costs), Texts({"cool_down 8", "warm_up 8"}));
}

// Transfers keep both of their ranks from computing.
TEST(AttributeIdle, SeesTransfersThatBlockTheSender) {
  const CostModel costs = equal_costs(2, stage_costs({.forward = 10}), Time(5));
  const Timeline timeline = linear({"0F0@0-10 0F1@15-25", "1F0@15-25 1F1@30-40"}, 2,
                                   {activation(0, 0, 10, 15), activation(0, 1, 25, 30)});
  EXPECT_EQ(texts_of(timeline, costs),
            Texts({"cool_down 10, transfer 10", "warm_up 10, transfer 10"}));
}

// The send of 0F1's output begins when rank 1 is done with 1F0, which took 30 instead of 10, and
// rank 0 goes on when it ends.
TEST(AttributeIdle, FollowsARendezvousToItsReceiver) {
  const CostModel costs = equal_costs(2, stage_costs({.forward = 10}), Time(5));
  const Timeline timeline =
      linear({"0F0@0-10 0F1@10-20 0F2@50-60", "1F0@15-45 1F1@50-60 1F2@65-75"}, 3,
             {activation(0, 0, 10, 15), activation(0, 1, 45, 50), activation(0, 2, 60, 65)});
  EXPECT_EQ(texts_of(timeline, costs)[0], "cool_down 10, dependency 5, transfer 10, jitter 20");
}

TEST(AttributeIdle, ARankWithoutSlotsCoolsDownAllTheTime) {
  const Timeline timeline = timeline_of(
      {.name = "gap", .placement = {.ranks = 2, .rank_of_stage = {{0}}}, .direction = {0}},
      {"0F0@0-1 0B0@1-4", ""});
  const CostModel costs = equal_costs(1, stage_costs({.forward = 1, .input = 2, .weight = 1}));
  EXPECT_EQ(texts_of(timeline, costs), Texts({"", "cool_down 4"}));
}

TEST(AttributeIdle, OfNothingIsNothing) {
  const Timeline timeline = timeline_of(pipeline_on(linear_placement(2), 1), {"", ""});
  EXPECT_EQ(texts_of(timeline, equal_costs(2, stage_costs({}))), Texts({"", ""}));
}

TEST(AttributeIdle, RefusesATimelineWithoutItsTransfers) {
  const Timeline timeline = linear({"0F0@0-10", "1F0@10-20"}, 1, {});
  EXPECT_EQ(refusal(ExitCode::invalid_schedule,
                    [&] { return attribute_idle(timeline, equal_costs(2, stage_costs({}))); }),
            "transfers: expected one for every message; found none for the activation of stage 0, "
            "microbatch 0, which rank 1 reads; record them with the timeline");
}

// --- closed forms ---

// 1F1B: rank r begins after r forwards and r transfers, ends r backwards and r transfers before the
// step does, and waits for the ranks below in between: (P-1)(F+B) of idle time in all but
// transfers.
TEST(AttributeIdle, GivesTheBubblesOfOneForwardOneBackward) {
  constexpr int ranks = 4;
  constexpr int forward = 10;
  constexpr int backward = 30;
  const StageCosts stage = stage_costs({.forward = forward, .input = 20, .weight = 10});
  const Timeline timeline = simulated("1f1b", {.ranks = ranks, .microbatches = 8}, stage);
  const std::vector<IdleCauses> causes = attribute_idle(timeline, equal_costs(ranks, stage));
  for (int rank = 0; rank < ranks; ++rank) {
    const IdleCauses expected{.warm_up = Time(rank * forward),
                              .cool_down = Time(rank * backward),
                              .dependency = Time((ranks - 1 - rank) * (forward + backward))};
    EXPECT_EQ(text_of(causes[static_cast<std::size_t>(rank)]), text_of(expected)) << rank;
  }
}

// GPipe: 2(P-1) transfers on the critical path, each waited for once by every rank.
TEST(AttributeIdle, GivesTheTransfersOfGPipe) {
  constexpr int ranks = 5;
  const StageCosts stage = stage_costs({.forward = 10, .input = 10, .weight = 10});
  const Timeline timeline = simulated("gpipe", {.ranks = ranks, .microbatches = 6}, stage, Time(3));
  for (const IdleCauses& causes : attribute_idle(timeline, equal_costs(ranks, stage, Time(3)))) {
    EXPECT_EQ(causes.transfer, Time(2 * (ranks - 1) * 3));
    EXPECT_EQ(causes.warm_up + causes.cool_down + causes.dependency, Time((ranks - 1) * 30));
  }
}

// --- what must hold of any schedule ---

void draw_tail(std::mt19937& random, CostModel& costs) {
  for (StageCosts& stage : costs.stages) {
    stage.tail = {.replica_reduce = Time(draw(random, 0, 50)),
                  .gradient_reduce = Time(draw(random, 0, 50)),
                  .optimizer = Time(draw(random, 0, 50)),
                  .parameter_gather = Time(draw(random, 0, 50))};
  }
  costs.gradient_norm = Time(draw(random, 0, 20));
  costs.post_validation = draw(random, 0, 1) == 1;
}

TEST(AttributeIdle, AddsUpToTheIdleTimeOfEveryRankOnRandomSchedules) {
  for (unsigned seed = 0; seed < 300; ++seed) {
    std::mt19937 random(seed);
    const Schedule schedule = random_schedule(random, {.ranks = 5, .stages = 7, .microbatches = 7});
    SCOPED_TRACE("seed " + std::to_string(seed) + "\n" + to_text(schedule));
    CostModel costs = random_costs(random, schedule.pipeline.stages());
    if (seed % 2 == 1) {
      draw_tail(random, costs);
    }
    const Timeline timeline = simulate(compile_or_throw(schedule, eager), costs);
    const std::vector<IdleCauses> causes = attribute_idle(timeline, costs);
    const Metrics metrics = measure(timeline);
    ASSERT_EQ(causes.size(), metrics.ranks.size());
    for (std::size_t rank = 0; rank < causes.size(); ++rank) {
      EXPECT_EQ(causes[rank].total(), metrics.ranks[rank].idle) << "rank " << rank;
      for (const IdleCause& cause : idle_causes) {
        EXPECT_GE(causes[rank].*cause.time, Time{}) << cause.name << " of rank " << rank;
      }
      EXPECT_EQ(causes[rank].unexplained, Time{});
      EXPECT_EQ(causes[rank].jitter, Time{});
      EXPECT_EQ(causes[rank].contention, Time{});
      EXPECT_TRUE(seed % 2 == 1 || causes[rank].barrier == Time{});
    }
  }
}

// Rank 0 computes until 60, rank 1 until 40; both reduce, agree until 75, and rank 1's optimizer
// takes 5, rank 0's 10.
TEST(AttributeIdle, CountsTheEndOfTheStepAsBarrierButForTheOptimizer) {
  const CostModel costs = equal_costs(2, stage_costs({.forward = 10, .input = 10, .weight = 10}));
  Timeline timeline = linear({"0F0@0-10 0B0@40-60", "1F0@10-20 1B0@20-40"}, 1,
                             {activation(0, 0, 10, 10), gradient(1, 0, 40, 40)});
  timeline.tail = {
      {.kind = TailKind::gradient_reduce,
       .rank = 0,
       .stage = 0,
       .begin = Time(60),
       .end = Time(70)},
      {.kind = TailKind::gradient_norm, .rank = 0, .stage = 0, .begin = Time(70), .end = Time(75)},
      {.kind = TailKind::optimizer, .rank = 0, .stage = 0, .begin = Time(75), .end = Time(85)},
      {.kind = TailKind::gradient_reduce,
       .rank = 1,
       .stage = 1,
       .begin = Time(40),
       .end = Time(50)},
      {.kind = TailKind::gradient_norm, .rank = 1, .stage = 0, .begin = Time(50), .end = Time(75)},
      {.kind = TailKind::optimizer, .rank = 1, .stage = 1, .begin = Time(75), .end = Time(80)}};
  EXPECT_EQ(texts_of(timeline, costs),
            Texts({"dependency 30, barrier 15", "warm_up 10, cool_down 20, barrier 20"}));
}

// Nobody waits for the norm: rank 1's optimizer hides half of what it would have cooled down.
TEST(AttributeIdle, DoesNotCountAnOptimizerThatRunsWhileOthersCompute) {
  const CostModel costs = equal_costs(2, stage_costs({.forward = 10, .input = 10, .weight = 10}));
  Timeline timeline = linear({"0F0@0-10 0B0@40-60", "1F0@10-20 1B0@20-40"}, 1,
                             {activation(0, 0, 10, 10), gradient(1, 0, 40, 40)});
  timeline.tail = {
      {.kind = TailKind::optimizer, .rank = 0, .stage = 0, .begin = Time(60), .end = Time(70)},
      {.kind = TailKind::optimizer, .rank = 1, .stage = 1, .begin = Time(45), .end = Time(55)}};
  EXPECT_EQ(texts_of(timeline, costs),
            Texts({"dependency 30", "warm_up 10, cool_down 10, barrier 10"}));
}

TEST(AttributeIdle, FindsNoImbalanceInEqualStagesAndNoTransfersWhereTheyTakeNoTime) {
  for (const Family* family : families()) {
    for (const Shape& shape :
         supported_shapes(*family, {.ranks = 4, .microbatches = 9, .chunks = 2})) {
      const StageCosts stage = stage_costs({.forward = 7, .input = 9, .weight = 4});
      const Schedule schedule = quickly_generated(*family, shape);
      const CostModel costs = equal_costs(schedule.pipeline.stages(), stage);
      for (const IdleCauses& causes :
           attribute_idle(simulate(compile_or_throw(schedule, eager), costs), costs)) {
        EXPECT_EQ(causes.imbalance + causes.transfer + causes.unexplained, Time{})
            << to_string(*family, shape);
      }
    }
  }
}

}  // namespace
}  // namespace dualpipe
