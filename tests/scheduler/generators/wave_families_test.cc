// The families on a zig-zag or V of one direction, against orders drawn by hand and against each
// other.

#include <cstddef>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "scheduler/generate.h"
#include "scheduler/op.h"
#include "scheduler/schedule.h"
#include "tests/support/schedules.h"

namespace dualpipe {
namespace {

using testing::ElementsAre;

RankOrders order_of(std::string_view family, const Shape& shape) {
  return generate(find_family(family), shape).ranks;
}

//   slot     0  1  2  3  4  5  6  7  8  9
//   rank 0  F0    F1 F0 B0 F1 B1 B0    B1
//   rank 1     F0 F0 F1 F1 B0 B0 B1 B1
TEST(Hanayo, RunsOneWaveOfTwoChunks) {
  EXPECT_THAT(order_of("hanayo", {.ranks = 2, .microbatches = 2, .chunks = 2}),
              ElementsAre(slots_of("0F0 0F1 3F0 3B0 3F1 3B1 0B0 0B1"),
                          slots_of("1F0 2F0 1F1 2F1 2B0 1B0 2B1 1B1")));
}

TEST(Hanayo, WithOneChunkIsOneForwardOneBackward) {
  for (int ranks = 1; ranks <= 6; ++ranks) {
    for (int microbatches = 1; microbatches <= 20; ++microbatches) {
      const Shape shape{.ranks = ranks, .microbatches = microbatches, .chunks = 1};
      EXPECT_EQ(order_of("hanayo", shape), order_of("1f1b", shape))
          << ranks << " ranks, " << microbatches << " microbatches";
    }
  }
}

// The paper derives its wave so: of twice as many ranks, rank r and its mirror image do the same
// in opposite directions; one of them is enough if what it hands to the other comes back to it.
TEST(Hanayo, WithTwoChunksIsChimeraFoldedInTheMiddle) {
  for (int ranks = 1; ranks <= 6; ++ranks) {
    for (int microbatches = 1; microbatches <= 20; ++microbatches) {
      RankOrders folded =
          order_of("chimera", {.ranks = 2 * ranks, .microbatches = 2 * microbatches});
      folded.resize(static_cast<std::size_t>(ranks));
      for (std::vector<Slot>& slots : folded) {
        for (Slot& slot : slots) {
          const Op& op = slot.front();
          slot = Op{op.stage, op.kind, op.microbatch % microbatches};
        }
      }
      EXPECT_EQ(order_of("hanayo", {.ranks = ranks, .microbatches = microbatches, .chunks = 2}),
                folded)
          << ranks << " ranks, " << microbatches << " microbatches";
    }
  }
}

// The blocks before the squeeze, backwards two slots long; then each op takes the first free place:
//
//   slot     0  1  2  3  4  5  6  7  8  9 10 11 12 13 14 15 16 17 18 19 20
//   rank 0  F0       F0 B0----F1       F1 B1----   B0----            B1----
//   rank 1     F0 F0             F1 F1 B0----B0----      B1----B1----
//
//   rank 0  F0 F1    F0 B0----F1 B1----   B0----      B1----
//   rank 1     F0 F0 F1 F1    B0----B0----B1----B1----
TEST(OneFOneBV, SqueezesTheRepeatedBlock) {
  EXPECT_THAT(order_of("1f1b-v", {.ranks = 2, .microbatches = 2}),
              ElementsAre(slots_of("0F0 0F1 3F0 3B0 3F1 3B1 0B0 0B1"),
                          slots_of("1F0 2F0 1F1 2F1 2B0 1B0 2B1 1B1")));
}

// One rank does all of a microbatch before the next: there is nothing to fill.
TEST(OneFOneBV, OnOneRankTakesOneMicrobatchAfterTheOther) {
  EXPECT_THAT(order_of("1f1b-v", {.ranks = 1, .microbatches = 2}),
              ElementsAre(slots_of("0F0 1F0 1B0 0B0 0F1 1F1 1B1 0B1")));
}

}  // namespace
}  // namespace dualpipe
