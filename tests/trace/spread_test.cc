#include "trace/spread.h"

#include <cmath>
#include <cstddef>
#include <random>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "scheduler/pipeline.h"
#include "tests/support/timelines.h"
#include "trace/slot_kind.h"
#include "trace/timeline.h"

namespace dualpipe {
namespace {

using testing::ElementsAre;

// 0, 10, .. 100: the deciles are members. The squares of 0, 10, .. 50 twice make 11000 over n - 1.
TEST(Spread, OfElevenNumbersByHand) {
  const Spread spread = spread_of({100, 0, 90, 10, 80, 20, 70, 30, 60, 40, 50});
  EXPECT_EQ(spread.count, 11);
  EXPECT_DOUBLE_EQ(spread.mean, 50.0);
  EXPECT_DOUBLE_EQ(spread.deviation, std::sqrt(1100.0));
  EXPECT_DOUBLE_EQ(spread.low, 10.0);
  EXPECT_DOUBLE_EQ(spread.median, 50.0);
  EXPECT_DOUBLE_EQ(spread.high, 90.0);
}

TEST(Spread, QuantilesLieBetweenTwoValues) {
  const Spread spread = spread_of({10, 20});
  EXPECT_DOUBLE_EQ(spread.low, 11.0);
  EXPECT_DOUBLE_EQ(spread.median, 15.0);
  EXPECT_DOUBLE_EQ(spread.high, 19.0);
}

TEST(Spread, OfFewValuesHasNoDeviation) {
  EXPECT_EQ(spread_of({}), Spread{});
  EXPECT_EQ(spread_of({7}),
            (Spread{.count = 1, .mean = 7, .deviation = 0, .low = 7, .median = 7, .high = 7}));
}

TEST(SlotSpreads, AreByStageAndKindOverAllRanks) {
  const Timeline timeline = timeline_of(
      pipeline_on(bidirectional_placement(2), 2),
      {"0F0@0-10 1F1@10-30 1B1@30-60 0B0@60-80", "0F1@0-20 (1F0;0B1)OVERLAP_F_B@20-62 1B0@70-90"});
  const std::vector<SlotSpread> spreads = slot_spreads(timeline);
  ASSERT_EQ(spreads.size(), 5U);
  const auto expect_slot = [&](std::size_t at, int stage, SlotKind kind, int count, double median) {
    EXPECT_EQ(spreads[at].stage, stage);
    EXPECT_EQ(spreads[at].kind, kind);
    EXPECT_EQ(spreads[at].time.count, count);
    EXPECT_DOUBLE_EQ(spreads[at].time.median, median);
  };
  expect_slot(0, 0, SlotKind::forward, 2, 15);
  expect_slot(1, 0, SlotKind::backward, 1, 20);
  expect_slot(2, 1, SlotKind::forward, 1, 20);
  expect_slot(3, 1, SlotKind::backward, 2, 25);
  expect_slot(4, 1, SlotKind::pair, 1, 42);
}

// The sample deviation of so many draws is within a few per cent of the distribution's.
TEST(LogDeviation, IsTheSigmaOfALognormalDistribution) {
  std::mt19937 random(5);
  std::lognormal_distribution<double> distribution(0.3, 0.2);
  std::vector<double> ratios;
  for (int draw = 0; draw < 20'000; ++draw) {
    ratios.push_back(distribution(random));
  }
  EXPECT_NEAR(log_deviation(ratios), 0.2, 0.006);
  ratios.insert(ratios.end(), 100, 1e6);  // far out, and still much the same
  EXPECT_NEAR(log_deviation(ratios), 0.2, 0.012);
}

TEST(LogDeviation, OfNothingThatDiffersIsZero) {
  EXPECT_EQ(log_deviation({}), 0.0);
  EXPECT_EQ(log_deviation({2.0}), 0.0);
  EXPECT_EQ(log_deviation({2.0, 2.0, 2.0}), 0.0);
  EXPECT_EQ(log_deviation({0.0, 2.0, 0.0}), 0.0);
}

// Two stages as different as can be, each always the same: slots do not vary.
TEST(SlotLogDeviation, IsWithinAStageAndKind) {
  const Pipeline pipeline = pipeline_on(looped_placement(1, 2), 2);
  EXPECT_EQ(slot_log_deviation(timeline_of(
                pipeline, {"0F0@0-1 0F1@1-2 1F0@2-102 1F1@102-202 1B0@202-203 1B1@203-204"})),
            0.0);
  EXPECT_GT(slot_log_deviation(timeline_of(pipeline, {"0F0@0-1 0F1@1-3"})), 0.0);
}

}  // namespace
}  // namespace dualpipe
