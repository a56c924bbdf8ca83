// The families that run two pipelines through the same ranks in opposite directions, against orders
// drawn by hand.

#include <algorithm>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "scheduler/compile.h"
#include "scheduler/generate.h"
#include "scheduler/memory.h"
#include "scheduler/op.h"
#include "scheduler/program.h"
#include "scheduler/schedule.h"
#include "tests/support/schedules.h"

namespace dualpipe {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::ElementsAreArray;
using testing::IsEmpty;

RankOrders order_of(std::string_view family, const Shape& shape) {
  return generate(find_family(family), shape).ranks;
}

std::vector<int> peaks_of(const RankOrders& ranks) {
  std::vector<int> peaks;
  for (const std::vector<Slot>& slots : ranks) {
    MemoryCount count({});
    for (const Slot& slot : slots) {
      count.run(slot);
    }
    peaks.push_back(count.peak_activations());
  }
  return peaks;
}

// Figure 3 of the paper: microbatches 0 and 1 go down, 2 and 3 go up.
//
//   slot     0  1  2  3  4  5  6  7  8  9
//   rank 0  F0    F1 F2 B2 F3 B3 B0    B1
//   rank 1     F0 F2 F1 F3 B2 B0 B3 B1
//   rank 2     F2 F0 F3 F1 B0 B2 B1 B3
//   rank 3  F2    F3 F0 B0 F1 B1 B2    B3
TEST(Chimera, MergesTwoPipelinesWithoutConflict) {
  EXPECT_THAT(order_of("chimera", {.ranks = 4, .microbatches = 4}),
              ElementsAre(slots_of("0F0 0F1 3F2 3B2 3F3 3B3 0B0 0B1"),
                          slots_of("1F0 2F2 1F1 2F3 2B2 1B0 2B3 1B1"),
                          slots_of("1F2 2F0 1F3 2F1 2B0 1B2 2B1 1B3"),
                          slots_of("0F2 0F3 3F0 3B0 3F1 3B1 0B2 0B3")));
}

// The second block of four begins eight slots after the first: on rank 0 its first forward falls
// between the two last backwards of the first block.
TEST(Chimera, LetsTheNextBlockIntoTheGapsOfTheLast) {
  EXPECT_THAT(order_of("chimera", {.ranks = 4, .microbatches = 8}).front(),
              ElementsAreArray(slots_of("0F0 0F1 3F4 3B4 3F5 3B5 0B0 0F2 0B1 0F3 3F6 3B6 "
                                        "3F7 3B7 0B2 0B3")));
}

// The paper: from P/2+1 activations at the ends to P in the middle.
TEST(Chimera, KeepsMoreActivationsInTheMiddle) {
  for (const int ranks : {2, 4, 8, 16}) {
    std::vector<int> expected;
    for (int rank = 0; rank < ranks; ++rank) {
      expected.push_back(ranks / 2 + 1 + std::min(rank, ranks - 1 - rank));
    }
    EXPECT_EQ(peaks_of(order_of("chimera", {.ranks = ranks, .microbatches = 3 * ranks})), expected);
  }
}

TEST(Chimera, LeavesOutWhatTheLastBlockIsShortOf) {
  EXPECT_THAT(
      order_of("chimera", {.ranks = 2, .microbatches = 3}),
      ElementsAre(slots_of("0F0 1F1 1B1 0B0 1F2 1B2"), slots_of("0F1 1F0 1B0 0B1 0F2 0B2")));
}

// Two microbatches enter at once: 0 and 1 downwards, 2 and 3 upwards.
//
//   slot      0    1   2  3  4  5
//   rank 0  F0,1 F2,3 B2 B0 B3 B1
//   rank 1  F2,3 F0,1 B0 B2 B1 B3
TEST(ChimeraDoubling, ForwardsTwoMicrobatchesInOneSlot) {
  EXPECT_THAT(order_of("chimera-doubling", {.ranks = 2, .microbatches = 4}),
              ElementsAre(slots_of("0F0 0F1 1F2 1F3 1B2 0B0 1B3 0B1"),
                          slots_of("0F2 0F3 1F0 1F1 1B0 0B2 1B1 0B3")));
}

// Of three microbatches one goes down and two go up; those begin.
TEST(Gems, TakesTheDirectionsInTurn) {
  EXPECT_THAT(
      order_of("gems", {.ranks = 2, .microbatches = 3}),
      ElementsAre(slots_of("1F1 1B1 0F0 0B0 1F2 1B2"), slots_of("0F1 0B1 1F0 1B0 0F2 0B2")));
}

TEST(Gems, KeepsOneActivationOnARank) {
  EXPECT_THAT(peaks_of(order_of("gems", {.ranks = 5, .microbatches = 8})), Each(1));
}

//   slot     0  1  2  3  4  5  6  7     Microbatch 0 goes down and back up, 1 up and back down;
//   rank 0  F0 F1 F1 F0 B0 B1 B1 B0     each turns on the rank that it has reached.
//   rank 1  F1 F0 F0 F1 B1 B0 B0 B1
TEST(BitPipe, MergesTwoWaves) {
  EXPECT_THAT(order_of("bitpipe", {.ranks = 2, .microbatches = 2}),
              ElementsAre(slots_of("0F0 1F1 2F1 3F0 3B0 2B1 1B1 0B0"),
                          slots_of("0F1 1F0 2F0 3F1 3B1 2B0 1B0 0B1")));
}

TEST(BidirectionalFamilies, AreTheirOwnMirrorImage) {
  for (const char* name : {"bitpipe", "chimera", "chimera-doubling", "dualpipe"}) {
    for (const int microbatches : {2, 10, 12, 16, 22}) {
      RankOrders ranks = order_of(name, {.ranks = 6, .microbatches = microbatches});
      const RankOrders original = ranks;
      std::reverse(ranks.begin(), ranks.end());
      const auto turned = [&](const Op& op) {
        return Op{op.stage, op.kind, (op.microbatch + microbatches / 2) % microbatches};
      };
      for (std::vector<Slot>& slots : ranks) {
        for (Slot& slot : slots) {
          slot = slot.is_pair() ? Slot::pair(turned(slot.front()), turned(slot.back()))
                                : Slot(turned(slot.front()));
        }
      }
      EXPECT_EQ(ranks, original) << name << ", " << microbatches << " microbatches";
    }
  }
}

// By the eight steps with all microbatches left out but the last of each: rank 0 needs three each
// way, rank 1 two.
TEST(DualPipe, WithTooFewMicrobatchesLeavesOutTheFirst) {
  EXPECT_THAT(order_of("dualpipe", {.ranks = 4, .microbatches = 2}),
              ElementsAre(slots_of("0F0 3F1 3B1 0I0 0W0"), slots_of("1F0 2F1 2I1 1I0 2W1 1W0"),
                          slots_of("1F1 2F0 2I0 1I1 2W0 1W1"), slots_of("0F1 3F0 3B0 0I1 0W1")));
}

// The eight steps by hand, as on the ranks of depth 0 and 1 of four, with four microbatches each
// way: the middle rank overlaps the two directions of its one stage.
TEST(DualPipe, WithAnOddNumberOfRanksHasOneInnermostRank) {
  const RankOrders ranks = order_of("dualpipe", {.ranks = 3, .microbatches = 8});
  EXPECT_THAT(ranks[0], ElementsAreArray(slots_of(
                            "0F0 0F1 0F2 2F4 2I4 2W4 2F5 (0F3;2B5)OVERLAP_F_B (2F6;0B0)OVERLAP_F_B "
                            "2B6 (2F7;0B1)OVERLAP_F_B 2B7 0I2 0W2 0I3 0W3")));
  EXPECT_THAT(ranks[1], ElementsAreArray(slots_of(
                            "1F0 1F4 1F1 1F5 1F2 1B4 (1F6;1B0)OVERLAP_F_B (1F3;1B5)OVERLAP_F_B "
                            "(1F7;1B1)OVERLAP_F_B 1B6 1B2 1I7 1I3 1W7 1W3")));
}

// The reference implementation refuses other shapes; for those there is nothing to compare with.
TEST(DualPipe, HasReferenceCommunicationWhereTheReferenceRuns) {
  const Family& both = find_family("dualpipe");
  const Family& v = find_family("dualpipev");
  EXPECT_THAT(both.reference_communication({.ranks = 3, .microbatches = 12}), IsEmpty());
  EXPECT_THAT(both.reference_communication({.ranks = 4, .microbatches = 6}), IsEmpty());
  EXPECT_THAT(v.reference_communication({.ranks = 4, .microbatches = 7}), IsEmpty());
  for (const int microbatches : {8, 9, 10, 11}) {
    for (const Family* family : {&both, &v}) {
      const Shape shape{.ranks = 4, .microbatches = microbatches};
      EXPECT_THAT(
          compile(generate(*family, shape), grouped_world, family->reference_communication(shape))
              .violations,
          IsEmpty())
          << to_string(*family, shape);
    }
  }
}

}  // namespace
}  // namespace dualpipe
