#include "scheduler/pipeline.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dualpipe {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(Placement, LinearPutsStageSOnRankS) {
  const Placement placement = linear_placement(3);
  EXPECT_EQ(placement.ranks, 3);
  EXPECT_THAT(placement.rank_of_stage, ElementsAre(ElementsAre(0, 1, 2)));
  EXPECT_EQ(placement.stages(), 3);
  EXPECT_EQ(placement.directions(), 1);
  EXPECT_EQ(placement.chunks(), 1);
}

TEST(Placement, LoopedGoesRoundOncePerChunk) {
  const Placement placement = looped_placement(2, 3);
  EXPECT_EQ(placement.ranks, 2);
  EXPECT_THAT(placement.rank_of_stage, ElementsAre(ElementsAre(0, 1, 0, 1, 0, 1)));
  EXPECT_EQ(placement.chunks(), 3);
  EXPECT_THAT(placement.stages_of(1, 0), ElementsAre(1, 3, 5));
}

TEST(Placement, VGoesDownAndComesBack) {
  const Placement placement = v_placement(3);
  EXPECT_EQ(placement.ranks, 3);
  EXPECT_THAT(placement.rank_of_stage, ElementsAre(ElementsAre(0, 1, 2, 2, 1, 0)));
  EXPECT_EQ(placement.chunks(), 2);
  EXPECT_THAT(placement.stages_of(0, 0), ElementsAre(0, 5));
  EXPECT_THAT(placement.stages_of(2, 0), ElementsAre(2, 3));
}

TEST(Placement, ZigzagTurnsBackAfterEveryChunk) {
  const Placement placement = zigzag_placement(3, 3);
  EXPECT_EQ(placement.ranks, 3);
  EXPECT_THAT(placement.rank_of_stage, ElementsAre(ElementsAre(0, 1, 2, 2, 1, 0, 0, 1, 2)));
  EXPECT_EQ(placement.chunks(), 3);
  EXPECT_THAT(placement.stages_of(0, 0), ElementsAre(0, 5, 6));
  EXPECT_EQ(zigzag_placement(4, 1), linear_placement(4));
}

TEST(Placement, BothWaysAddsTheMirrorImage) {
  const Placement placement = both_ways(v_placement(3));
  EXPECT_EQ(placement.ranks, 3);
  EXPECT_THAT(placement.rank_of_stage,
              ElementsAre(ElementsAre(0, 1, 2, 2, 1, 0), ElementsAre(2, 1, 0, 0, 1, 2)));
  EXPECT_EQ(placement.chunks(), 2);
}

TEST(Placement, BidirectionalMirrorsTheSecondDirection) {
  const Placement placement = bidirectional_placement(4);
  EXPECT_EQ(placement.ranks, 4);
  EXPECT_THAT(placement.rank_of_stage,
              ElementsAre(ElementsAre(0, 1, 2, 3), ElementsAre(3, 2, 1, 0)));
  EXPECT_EQ(placement.directions(), 2);
  EXPECT_EQ(placement.chunks(), 1);
  EXPECT_THAT(placement.stages_of(1, 0), ElementsAre(1));
  EXPECT_THAT(placement.stages_of(1, 1), ElementsAre(2));
}

TEST(Placement, ChunksAreTheMostThatAnyRankHolds) {
  const Placement placement{.ranks = 3, .rank_of_stage = {{0, 0, 2, 0}, {2, 2, 0, 0}}};
  EXPECT_EQ(placement.chunks(), 3);
  EXPECT_THAT(placement.stages_of(1, 0), IsEmpty());
}

TEST(Placement, OfOneRankHoldsEverythingThere) {
  EXPECT_THAT(linear_placement(1).rank_of_stage, ElementsAre(ElementsAre(0)));
  EXPECT_THAT(v_placement(1).rank_of_stage, ElementsAre(ElementsAre(0, 0)));
  EXPECT_THAT(zigzag_placement(1, 3).rank_of_stage, ElementsAre(ElementsAre(0, 0, 0)));
  EXPECT_THAT(bidirectional_placement(1).rank_of_stage,
              ElementsAre(ElementsAre(0), ElementsAre(0)));
}

TEST(Microbatches, AreSplitEvenlyOverTwoDirections) {
  EXPECT_THAT(directions_of_microbatches(4, 2), ElementsAre(0, 0, 1, 1));
  EXPECT_THAT(directions_of_microbatches(3, 1), ElementsAre(0, 0, 0));
}

TEST(Pipeline, FindsTheRankOfAStageForTheDirectionOfTheMicrobatch) {
  const Pipeline pipeline{
      .name = "two ways", .placement = bidirectional_placement(4), .direction = {0, 1}};
  EXPECT_EQ(pipeline.rank_of(1, 0), 1);
  EXPECT_EQ(pipeline.rank_of(1, 1), 2);
  EXPECT_EQ(pipeline.ranks(), 4);
  EXPECT_EQ(pipeline.stages(), 4);
  EXPECT_EQ(pipeline.microbatches(), 2);
}

}  // namespace
}  // namespace dualpipe
