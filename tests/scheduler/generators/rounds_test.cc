#include "scheduler/generators/rounds.h"

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

std::vector<int> rounds_of(int ranks, int microbatches) {
  return even_rounds({.ranks = ranks, .microbatches = microbatches});
}

TEST(EvenRounds, AreAsManyAsFitPMicrobatchesEachAndAsEqualAsTheyCanBe) {
  EXPECT_THAT(rounds_of(4, 8), ElementsAre(4, 4));
  EXPECT_THAT(rounds_of(4, 10), ElementsAre(5, 5));
  EXPECT_THAT(rounds_of(4, 11), ElementsAre(6, 5));
  EXPECT_THAT(rounds_of(4, 3), ElementsAre(3));
  EXPECT_THAT(rounds_of(1, 3), ElementsAre(1, 1, 1));
}

TEST(InRounds, ForwardsGoUpTheChunksAndBackwardsDown) {
  const Shape shape{.ranks = 2, .microbatches = 3, .chunks = 2};
  const std::vector<int> rounds{2, 1};
  const auto slots = [&](OpKind kind) {
    const std::vector<Op> ops = in_rounds(kind, 1, shape, rounds);
    return std::vector<Slot>(ops.begin(), ops.end());
  };
  EXPECT_EQ(slots(OpKind::forward), slots_of("1F0 1F1 3F0 3F1 1F2 3F2"));
  EXPECT_EQ(slots(OpKind::backward_input), slots_of("3I0 3I1 1I0 1I1 3I2 1I2"));
}

TEST(Alternate, TakesTurnsAfterTheWarmup) {
  const std::vector<Op> forwards{parse_op("0F0"), parse_op("0F1"), parse_op("0F2")};
  const std::vector<Op> whole{parse_op("0B0"), parse_op("0B1"), parse_op("0B2")};
  const std::vector<Op> halves{parse_op("0I0"), parse_op("0I1"), parse_op("0I2")};
  EXPECT_EQ(alternate(forwards, whole, {.warmup = 1}), slots_of("0F0 0F1 0B0 0F2 0B1 0B2"));
  EXPECT_EQ(alternate(forwards, whole, {.warmup = 9}), slots_of("0F0 0F1 0F2 0B0 0B1 0B2"));
  EXPECT_EQ(alternate(forwards, halves, {.warmup = 0, .held_weights = 1}),
            slots_of("0F0 0I0 0F1 0I1 0W0 0F2 0I2 0W1 0W2"));
  EXPECT_EQ(alternate(forwards, halves, {.warmup = 2, .held_weights = 0}),
            slots_of("0F0 0F1 0F2 0I0 0W0 0I1 0W1 0I2 0W2"));
}

}  // namespace
}  // namespace dualpipe
