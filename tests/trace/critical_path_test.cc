#include "trace/critical_path.h"

#include <cstddef>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "costs/cost_model.h"
#include "scheduler/compile.h"
#include "scheduler/pipeline.h"
#include "scheduler/schedule.h"
#include "scheduler/text.h"
#include "sim/simulate.h"
#include "tests/support/linear_transfers.h"
#include "tests/support/random_schedule.h"
#include "tests/support/schedules.h"
#include "tests/support/simulated.h"
#include "tests/support/timelines.h"
#include "trace/timeline.h"

namespace dualpipe {
namespace {

const Span& span_of(const Timeline& timeline, const Piece& piece) {
  return timeline
      .ranks[static_cast<std::size_t>(piece.slot.rank)][static_cast<std::size_t>(piece.slot.slot)];
}

std::size_t tail_place(const Piece& piece) {
  return static_cast<std::size_t>(piece.slot.slot);
}

// "0:0F0@0-10 >1@10-13 1:1F0@13-23": rank and slot, > and destination, ? and the rank that waits.
std::string text_of(const std::vector<Piece>& pieces, const Timeline& timeline) {
  std::string text;
  for (const Piece& piece : pieces) {
    const std::string rank = std::to_string(piece.slot.rank);
    text += text.empty() ? "" : " ";
    switch (piece.kind) {
      case Piece::Kind::slot:
        text += rank + ":" + to_string(span_of(timeline, piece).slot);
        break;
      case Piece::Kind::transfer:
        text += ">" + std::to_string(piece.destination);
        break;
      case Piece::Kind::tail:
        text += rank + ":" + std::string(to_string(timeline.tail[tail_place(piece)].kind));
        break;
      case Piece::Kind::unexplained:
        text += "?" + rank;
        break;
    }
    text += "@" + std::to_string(piece.begin.count()) + "-" + std::to_string(piece.end.count());
  }
  return text;
}

std::string path_of(const Timeline& timeline) {
  return text_of(critical_path(timeline), timeline);
}

Timeline linear(const std::vector<std::string_view>& ranks, int microbatches,
                std::vector<Transfer> transfers) {
  const Placement placement = linear_placement(static_cast<int>(ranks.size()));
  Timeline timeline = timeline_of(pipeline_on(placement, microbatches), ranks);
  timeline.transfers = std::move(transfers);
  return timeline;
}

TEST(CriticalPath, RunsThroughSlotsAndTransfersFromBeginToEnd) {
  EXPECT_EQ(path_of(linear({"0F0@0-10 0B0@36-56", "1F0@13-23 1B0@23-33"}, 1,
                           {activation(0, 0, 10, 13), gradient(1, 0, 33, 36)})),
            "0:0F0@0-10 >1@10-13 1:1F0@13-23 1:1B0@23-33 >0@33-36 0:0B0@36-56");
}

// P = 2, M = 3, F = 1, B = 2 without transfers: rank 0 fills with one forward and empties with one
// backward; in between rank 1 is never idle.
TEST(CriticalPath, OfOneForwardOneBackwardKeepsToTheLastRank) {
  const StageCosts stage = stage_costs({.forward = 1, .input = 1, .weight = 1});
  const Timeline timeline = simulated("1f1b", {.ranks = 2, .microbatches = 3}, stage);
  EXPECT_EQ(path_of(timeline),
            "0:0F0@0-1 1:1F0@1-2 1:1B0@2-4 1:1F1@4-5 1:1B1@5-7 1:1F2@7-8 1:1B2@8-10 0:0B2@10-12");
}

// Ranks 0 and 1 wait for rank 2's reduction and for the norm, and rank 0 has most to gather.
TEST(CriticalPath, GoesOnThroughTheRankThatTheNormWaitedFor) {
  Timeline timeline = timeline_of(
      {.name = "three", .placement = {.ranks = 3, .rank_of_stage = {{0, 1, 2}}}, .direction = {0}},
      {"0F0@0-10 0B0@40-60", "1F0@10-20 1B0@30-40", "2F0@20-25 2B0@25-30"});
  timeline.transfers = {activation(0, 0, 10, 10), activation(1, 0, 20, 20), gradient(2, 0, 30, 30),
                        gradient(1, 0, 40, 40)};
  const auto part = [](TailKind kind, int rank, int begin, int end) {
    return TailSpan{
        .kind = kind, .rank = rank, .stage = rank, .begin = Time(begin), .end = Time(end)};
  };
  timeline.tail = {
      part(TailKind::gradient_norm, 0, 60, 75),    part(TailKind::optimizer, 0, 75, 85),
      part(TailKind::parameter_gather, 0, 85, 95), part(TailKind::gradient_norm, 1, 40, 75),
      part(TailKind::optimizer, 1, 75, 80),        part(TailKind::gradient_reduce, 2, 30, 70),
      part(TailKind::gradient_norm, 2, 70, 75),    part(TailKind::optimizer, 2, 75, 80)};
  EXPECT_EQ(path_of(timeline),
            "0:0F0@0-10 1:1F0@10-20 2:2F0@20-25 2:2B0@25-30 2:gradient_reduce@30-70 "
            "2:gradient_norm@70-75 0:optimizer@75-85 0:parameter_gather@85-95");
}

TEST(CriticalPath, NamesTheRankThatHasNothingToWaitFor) {
  EXPECT_EQ(path_of(linear({"0F0@0-10", "1F0@14-20"}, 1, {activation(0, 0, 10, 12)})),
            "0:0F0@0-10 >1@10-12 ?1@12-14 1:1F0@14-20");
}

TEST(CriticalPath, OfNothingIsEmpty) {
  EXPECT_TRUE(critical_path(timeline_of(pipeline_on(linear_placement(1), 1), {""})).empty());
}

// Zero-length ops must neither end the search nor keep it going for ever.
TEST(CriticalPath, PassesSlotsAndTransfersThatTakeNoTime) {
  EXPECT_EQ(
      path_of(linear({"0F0@0-5 0F1@5-5 0B0@5-5 0B1@5-8", "1F0@5-5 1B0@5-5 1F1@5-5 1B1@5-5"}, 2,
                     {activation(0, 0, 5, 5), activation(0, 1, 5, 5), gradient(1, 0, 5, 5),
                      gradient(1, 1, 5, 5)})),
      "0:0F0@0-5 0:0B1@5-8");
}

// Rank 1's clock is ahead, and what it read came, it says, when it was done with it.
TEST(CriticalPath, EndsWhereAMessageSeemsToComeAfterItsReader) {
  EXPECT_EQ(path_of(linear({"0F0@0-10 0B0@40-60", "1F0@5-20 1B0@20-30"}, 1,
                           {activation(0, 0, 20, 23), gradient(1, 0, 30, 40)})),
            "0:0F0@0-5 1:1F0@5-20 1:1B0@20-30 >0@30-40 0:0B0@40-60");
}

// Each rank says that what it read came first from the other. Nothing but an invented file can.
TEST(CriticalPath, EndsWhereTwoRanksHaveWaitedForEachOther) {
  const std::vector<Transfer> transfers{activation(0, 0, 9, 20), gradient(1, 0, 9, 20)};
  EXPECT_EQ(path_of(linear({"0B0@20-30 0F0@30-40", "1F0@20-30 1B0@30-40"}, 1, transfers)),
            "0:0B0@20-30 0:0F0@30-40");
}

// A chain must end at the makespan, begin at 0 and have no holes; its slots are those of the
// timeline, whole, and its transfers take what they cost: so it is a path, and as long as the step.
TEST(CriticalPath, IsAPathOfTheLengthOfTheStepOnRandomSchedules) {
  for (unsigned seed = 0; seed < 300; ++seed) {
    std::mt19937 random(seed);
    const Schedule schedule = random_schedule(random, {.ranks = 5, .stages = 7, .microbatches = 7});
    CostModel costs = random_costs(random, schedule.pipeline.stages());
    if (seed % 2 == 1) {
      for (StageCosts& stage : costs.stages) {
        stage.tail = {.replica_reduce = Time(draw(random, 0, 50)),
                      .gradient_reduce = Time(draw(random, 0, 50)),
                      .optimizer = Time(draw(random, 0, 50)),
                      .parameter_gather = Time(draw(random, 0, 50))};
      }
      costs.gradient_norm = Time(draw(random, 0, 20));
    }
    const Timeline timeline = simulate(compile_or_throw(schedule, eager), costs);
    const std::vector<Piece> path = critical_path(timeline);
    SCOPED_TRACE("seed " + std::to_string(seed) + "\n" + to_text(schedule) +
                 text_of(path, timeline));
    Time now{};
    for (const Piece& piece : path) {
      EXPECT_EQ(piece.begin, now);
      EXPECT_EQ(piece.duration(), piece.whole);
      ASSERT_NE(piece.kind, Piece::Kind::unexplained);
      if (piece.kind == Piece::Kind::tail) {
        const TailSpan& span = timeline.tail.at(tail_place(piece));
        EXPECT_EQ(piece.begin, span.begin);
        EXPECT_EQ(piece.end, span.end);
        now = piece.end;
        continue;
      }
      const Span& span = span_of(timeline, piece);
      if (piece.kind == Piece::Kind::slot) {
        EXPECT_EQ(piece.begin, span.begin);
        EXPECT_EQ(piece.end, span.end);
      } else {
        EXPECT_EQ(piece.begin, span.end);
        EXPECT_EQ(piece.duration(), costs.p2p);
      }
      now = piece.end;
    }
    EXPECT_EQ(now, makespan(timeline));
  }
}

}  // namespace
}  // namespace dualpipe
