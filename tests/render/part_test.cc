#include "render/part.h"

#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "scheduler/op.h"
#include "scheduler/pipeline.h"
#include "tests/render/timelines.h"
#include "trace/timeline.h"

namespace dualpipe {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(Part, ASlotOfOneOpIsOnePart) {
  const Timeline timeline = small_1f1b();
  const Parts parts = PartSplitter(timeline).split(timeline.ranks[1][1]);
  EXPECT_EQ(parts.first.op, parse_op("1B0"));
  EXPECT_EQ(parts.first.begin, ms(2));
  EXPECT_EQ(parts.first.end, ms(4));
  EXPECT_FALSE(parts.second.has_value());
}

TEST(Part, APairIsDividedOneToTwoWhereNothingElseIsKnown) {
  const Timeline timeline = timeline_of(pipeline_of(linear_placement(1), 2),
                                        {"0F0@0-1 (0F1;0B0)OVERLAP_F_B@10-13 0I1@13-14"});
  const Parts parts = PartSplitter(timeline).split(timeline.ranks[0][1]);
  EXPECT_EQ(parts.first.begin, ms(10));
  EXPECT_EQ(parts.first.end, ms(11));
  const Part second = parts.second.value_or(Part{});
  EXPECT_EQ(second.op, parse_op("0B0"));
  EXPECT_EQ(second.begin, ms(11));
  EXPECT_EQ(second.end, ms(13));
}

TEST(Part, APairIsDividedAsItsOpsCompareWhenTheyRunAlone) {
  // F takes 2 on average, B 3; so four fifths of 10 ms are 4 and 6.
  const Timeline timeline = timeline_of(pipeline_of(linear_placement(1), 4),
                                        {"0F0@0-1 0F1@1-4 (0F2;0B0)OVERLAP_F_B@10-20 0B1@20-23"});
  const Parts parts = PartSplitter(timeline).split(timeline.ranks[0][2]);
  EXPECT_EQ(parts.first.end, ms(14));
}

TEST(Part, TheHalvesOfABackwardAddUpToItsWhole) {
  // F 1, I 2, W 1: a quarter of 8 ms is the forward.
  const Timeline timeline = timeline_of(pipeline_of(linear_placement(1), 3),
                                        {"0F0@0-1 (0F1;0B0)OVERLAP_F_B@1-9 0I1@9-11 0W1@11-12"});
  const Parts parts = PartSplitter(timeline).split(timeline.ranks[0][1]);
  EXPECT_EQ(parts.first.end, ms(3));
}

TEST(Part, ThePairsOfTheDualPipeFigureAreOneUnitAndTwo) {
  const Timeline timeline = simulated("dualpipe", {.ranks = 8, .microbatches = 20});
  const PartSplitter splitter(timeline);
  int pairs = 0;
  for (const std::vector<Span>& spans : timeline.ranks) {
    for (const Span& span : spans) {
      const Parts parts = splitter.split(span);
      if (parts.second) {
        ++pairs;
        EXPECT_EQ(parts.first.duration(), ms(1));
        EXPECT_EQ(parts.second->duration(), ms(2));
      }
    }
  }
  // Step 4 runs 2 (n - 2H + h + 1) pairs with n = 10, H = 4, one less on the two inner ranks; step
  // 5 runs H - h - 1. For h = 0..3: 9, 10, 11 and 11, on two ranks each.
  EXPECT_EQ(pairs, 2 * (9 + 10 + 11 + 11));
}

TEST(Part, TheSecondStageOfARankIsItsSecondChunk) {
  const Timeline timeline =
      timeline_of(pipeline_of(v_placement(2), 1), {"0F0@0-1 3F0@3-4", "1F0@1-2 2F0@2-3"});
  const PartSplitter splitter(timeline);
  EXPECT_EQ(splitter.split(timeline.ranks[0][0]).first.chunk, 0);
  EXPECT_EQ(splitter.split(timeline.ranks[0][1]).first.chunk, 1);
  EXPECT_EQ(splitter.split(timeline.ranks[1][1]).first.chunk, 1);
}

TEST(Part, TheSecondHalfOfTheMicrobatchesOfABidirectionalPipelineIsReverse) {
  const Timeline timeline = timeline_of(pipeline_of(bidirectional_placement(2), 2),
                                        {"0F0@0-1 1F1@1-2", "0F1@0-1 1F0@1-2"});
  const PartSplitter splitter(timeline);
  EXPECT_FALSE(splitter.split(timeline.ranks[0][0]).first.reverse);
  EXPECT_TRUE(splitter.split(timeline.ranks[0][1]).first.reverse);
  EXPECT_EQ(splitter.split(timeline.ranks[0][1]).first.chunk, 0);
}

TEST(Part, ContentsAreTheKindsThatOccurInTheOrderOfTheLegend) {
  const Pipeline pipeline = pipeline_of(linear_placement(1), 3);
  const Timeline halves = timeline_of(pipeline, {"0W0@0-1 0I1@1-2"});
  const Timeline pair = timeline_of(pipeline, {"(0F1;0B0)OVERLAP_F_B@1-9"});
  EXPECT_THAT(contents_of(halves).kinds,
              ElementsAre(OpKind::backward_input, OpKind::backward_weight));
  EXPECT_FALSE(contents_of(halves).pairs);
  const Contents both = contents_of(pair, contents_of(halves));
  EXPECT_THAT(both.kinds, ElementsAre(OpKind::forward, OpKind::backward, OpKind::backward_input,
                                      OpKind::backward_weight));
  EXPECT_TRUE(both.pairs);
  EXPECT_THAT(contents_of(timeline_of(pipeline, {""})).kinds, IsEmpty());
}

}  // namespace
}  // namespace dualpipe
