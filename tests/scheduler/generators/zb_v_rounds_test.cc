#include "scheduler/generators/zb_v_rounds.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/cost_model.h"
#include "scheduler/arrange/tracks.h"
#include "scheduler/arrange/word_times.h"
#include "scheduler/compile.h"
#include "scheduler/pipeline.h"
#include "tests/support/random_schedule.h"
#include "tests/support/schedules.h"
#include "tests/support/simulated.h"
#include "tests/support/words.h"

namespace dualpipe {
namespace {

using testing::IsEmpty;

// One rank is never idle, whichever way the idle times are levelled: down and up and back, and the
// weight halves where memory wants them.
TEST(ZbVRounds, OnOneRankLeaveNoGap) {
  Tracks tracks = tracks_of(v_placement(1), 3, equal_costs(2, stage_costs({})));
  tracks.limit = 2;
  const std::vector<Words> schedules = zb_v_rounds(tracks);
  ASSERT_FALSE(schedules.empty());
  for (const Words& words : schedules) {
    EXPECT_EQ(WordTimes(tracks).measure(words)->makespan, Time(2 * 3 * 3)) << to_text(words);
  }
}

TEST(ZbVRounds, AreCompleteAndLiveAndHoldTheLimit) {
  int made = 0;
  for (unsigned seed = 0; seed < 500; ++seed) {
    std::mt19937 random(seed);
    const int ranks = draw(random, 1, 5);
    Instance instance =
        instance_of(v_placement(ranks), draw(random, 1, 14), random_costs(random, 2 * ranks));
    Tracks& tracks = instance.tracks;
    draw_memory(random, tracks);
    tracks.limit = least_limit(tracks) + draw(random, 0, 20);
    for (const Words& words : zb_v_rounds(tracks)) {
      ++made;
      SCOPED_TRACE("seed " + std::to_string(seed) + "\n" + to_text(words));
      EXPECT_THAT(compile(schedule_of(instance, words), eager).violations, IsEmpty());
      for (const Word& word : words) {
        EXPECT_LE(most_held(tracks, word), tracks.limit);
      }
    }
  }
  EXPECT_GT(made, 1000);
}

// The paper: with the memory of 1F1B, and F = I = W, no rank waits between its first op and its
// last, if there are as many microbatches as 2P.
TEST(ZbVRounds, LeaveNoBubbleBetweenFirstAndLastForEqualCosts) {
  for (int ranks = 1; ranks <= 8; ++ranks) {
    for (const int microbatches : {2 * ranks, 3 * ranks, 5 * ranks}) {
      Tracks tracks =
          tracks_of(v_placement(ranks), microbatches, equal_costs(2 * ranks, stage_costs({})));
      tracks.limit = 2 * std::int64_t{ranks};
      Time best = Time::max();
      for (const Words& words : zb_v_rounds(tracks)) {
        best = std::min(best, WordTimes(tracks).measure(words)->longest_rank_time);
      }
      EXPECT_EQ(best, Time(6 * microbatches)) << ranks << " ranks, " << microbatches;
    }
  }
}

}  // namespace
}  // namespace dualpipe
