#include "scheduler/generators/prune.h"

#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "scheduler/compile.h"
#include "scheduler/pipeline.h"
#include "scheduler/schedule.h"
#include "tests/support/random_schedule.h"
#include "tests/support/schedules.h"

namespace dualpipe {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(Prune, DropsTheLastMicrobatchesOfOneDirection) {
  const RankOrders ranks{slots_of("0F0 0F1 0F2 0B0 0B1 0B2"), slots_of("1F0 1B0 1F1 1B1 1F2 1B2")};
  EXPECT_THAT(prune(ranks, {.from = 3, .to = 2}, 1),
              ElementsAre(slots_of("0F0 0F1 0B0 0B1"), slots_of("1F0 1B0 1F1 1B1")));
  EXPECT_EQ(prune(ranks, {.from = 3, .to = 3}, 1), ranks);
}

// Of 0 1 2 | 3 4 5 the first five are 0 1 | 3 4 5, and their numbers close up.
TEST(Prune, DropsTheLastMicrobatchesOfEachDirectionAndNumbersTheRestAnew) {
  const RankOrders ranks{slots_of("0F0 0F1 0F2 1F3 1F4 1F5")};
  EXPECT_THAT(prune(ranks, {.from = 6, .to = 5}, 2), ElementsAre(slots_of("0F0 0F1 1F2 1F3 1F4")));
  EXPECT_THAT(prune(ranks, {.from = 6, .to = 2}, 2), ElementsAre(slots_of("0F0 1F1")));
  EXPECT_THAT(prune(ranks, {.from = 6, .to = 1}, 2), ElementsAre(slots_of("1F0")));
}

TEST(Prune, LeavesOfAPairTheHalfThatIsLeft) {
  const RankOrders ranks{
      slots_of("(0F0;1B1)OVERLAP_F_B (0F1;1B0)OVERLAP_F_B (0F1;1B1)OVERLAP_F_B")};
  EXPECT_THAT(prune(ranks, {.from = 2, .to = 1}, 1), ElementsAre(slots_of("0F0 1B0")));
  EXPECT_THAT(prune(ranks, {.from = 2, .to = 2}, 1), ranks);
}

TEST(Prune, OfAValidScheduleIsValid) {
  for (unsigned seed = 0; seed < 300; ++seed) {
    std::mt19937 random(seed);
    Schedule const schedule = random_schedule(random, {.ranks = 4, .stages = 5, .microbatches = 6});
    const int directions = schedule.pipeline.placement.directions();
    const int from = schedule.pipeline.microbatches();
    if (schedule.pipeline.direction != directions_of_microbatches(from, directions)) {
      continue;  // Directions that are mixed are not what prune() is for.
    }
    for (int to = 1; to <= from; ++to) {
      Schedule pruned = schedule;
      pruned.ranks = prune(schedule.ranks, {.from = from, .to = to}, directions);
      pruned.pipeline.direction = directions_of_microbatches(to, directions);
      EXPECT_THAT(compile(pruned, eager).violations, IsEmpty()) << "seed " << seed << ", " << to;
    }
  }
}

}  // namespace
}  // namespace dualpipe
