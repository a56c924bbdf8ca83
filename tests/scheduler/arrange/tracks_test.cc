#include "scheduler/arrange/tracks.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/cost_model.h"
#include "scheduler/compile.h"
#include "scheduler/pipeline.h"
#include "scheduler/schedule.h"
#include "tests/support/schedules.h"
#include "tests/support/simulated.h"
#include "tests/support/words.h"

namespace dualpipe {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

//   rank 0   stage 0   stage 3
//   rank 1   stage 1 - stage 2     the turn stays on its rank
TEST(TracksOf, AVLinksItsStagesAndTurnsWithoutATransfer) {
  CostModel costs = equal_costs(4, stage_costs({.forward = 3, .input = 5, .weight = 7}), Time(2));
  costs.stages[2].forward = Time(30);
  const Tracks tracks = tracks_of(v_placement(2), 6, costs);
  EXPECT_THAT(tracks.of_rank, ElementsAre(ElementsAre(0, 3), ElementsAre(1, 2)));
  EXPECT_EQ(tracks.letters(), 4 * 6 * 3);
  EXPECT_EQ(tracks[0].previous, Track::none);
  EXPECT_EQ(tracks[0].next, 1);
  EXPECT_EQ(tracks[1].from_previous, Time(2));
  EXPECT_EQ(tracks[1].from_next, Time());
  EXPECT_EQ(tracks[2].previous, 1);
  EXPECT_EQ(tracks[2].from_previous, Time());
  EXPECT_EQ(tracks[2].from_next, Time(2));
  EXPECT_EQ(tracks[2].forward, Time(30));
  EXPECT_EQ(tracks[2].backward_input, Time(5));
  EXPECT_EQ(tracks[2].backward_weight, Time(7));
  EXPECT_EQ(tracks[3].next, Track::none);
}

TEST(TracksOf, TwoDirectionsShareTheMicrobatches) {
  const Tracks tracks =
      tracks_of(bidirectional_placement(2), 5, equal_costs(2, stage_costs({}), Time(1)));
  EXPECT_THAT(tracks.of_rank, ElementsAre(ElementsAre(0, 3), ElementsAre(1, 2)));
  const std::vector<int> directions = directions_of_microbatches(5, 2);
  const int down = static_cast<int>(std::ranges::count(directions, 0));
  EXPECT_EQ(tracks[1].first_microbatch, 0);
  EXPECT_EQ(tracks[1].microbatches, down);
  EXPECT_EQ(tracks[2].first_microbatch, down);
  EXPECT_EQ(tracks[2].microbatches, 5 - down);
  EXPECT_EQ(tracks[2].previous, Track::none);
}

TEST(OrdersOf, NumbersTheMicrobatchesOfEachTrackAndKindByCounting) {
  const Tracks down_and_up = tracks_of(v_placement(1), 2, equal_costs(2, stage_costs({})));
  EXPECT_THAT(orders_of(down_and_up, words_from({"F0 F0 F1 I1 F1 I0 W1 I1 W0 I0 W0 W1"})),
              ElementsAre(slots_of("0F0 0F1 1F0 1I0 1F1 0I0 1W0 1I1 0W0 0I1 0W1 1W1")));
  const Tracks both = tracks_of(bidirectional_placement(2), 2, equal_costs(2, stage_costs({})));
  EXPECT_THAT(
      orders_of(both, words_from({"F0 F3 I3 W3 I0 W0", "F2 F1 I1 W1 I2 W2"})),
      ElementsAre(slots_of("0F0 1F1 1I1 1W1 0I0 0W0"), slots_of("0F1 1F0 1I0 1W0 0I1 0W1")));
}

TEST(WordsOf, WholeBackwardsAndPairsBecomeTheirParts) {
  const Tracks tracks = tracks_of(v_placement(1), 2, equal_costs(2, stage_costs({})));
  const RankOrders orders{slots_of("0F0 1F0 1B0 0F1 (1F1;0B0)OVERLAP_F_B 1I1 0I1 1W1 0W1")};
  EXPECT_EQ(words_of(tracks, orders), words_from({"F0 F1 I1 W1 F0 F1 I0 W0 I1 I0 W1 W0"}));
}

TEST(WordsOf, UndoesOrdersOf) {
  for (unsigned seed = 0; seed < 1000; ++seed) {
    std::mt19937 random(seed);
    const Instance instance = random_instance(random);
    const Words words = random_words(random, instance.tracks);
    EXPECT_EQ(words_of(instance.tracks, orders_of(instance.tracks, words)), words)
        << "seed " << seed;
  }
}

TEST(OrdersOf, TheWordsOfARunMakeAScheduleThatCompiles) {
  for (unsigned seed = 0; seed < 300; ++seed) {
    std::mt19937 random(seed);
    const Instance instance = random_family_instance(random);
    const Words words = random_words(random, instance.tracks);
    EXPECT_THAT(compile(schedule_of(instance, words), eager).violations, IsEmpty())
        << "seed " << seed << "\n"
        << to_text(words);
  }
}

// One microbatch alone: on the way down every activation stays, and on the way up each becomes what
// its weight half needs, one at a time.
TEST(LeastLimit, IsWhatOneMicrobatchTakes) {
  Tracks tracks = tracks_of(v_placement(2), 3, equal_costs(4, stage_costs({})));
  EXPECT_EQ(least_limit(tracks), 2);
  tracks.tracks[3].weight_operands = 4;
  EXPECT_EQ(least_limit(tracks), 1 + 4);
  tracks.tracks[1].activation = 7;
  EXPECT_EQ(least_limit(tracks), 7 + 1);
  EXPECT_EQ(least_limit(tracks_of(linear_placement(3), 9, equal_costs(3, stage_costs({})))), 1);
}

// All words there are: some hold the least limit, and none hold less.
TEST(LeastLimit, IsTheLeastThatAnyWordsHold) {
  std::mt19937 random(11);
  for (int turn = 0; turn < 60; ++turn) {
    const std::vector<Placement> placements{linear_placement(2), v_placement(1), v_placement(2),
                                            bidirectional_placement(2)};
    const Placement& placement = placements[static_cast<std::size_t>(turn) % placements.size()];
    const int microbatches = placement.directions() == 2 || placement.stages() < 4 ? 2 : 1;
    Instance instance =
        instance_of(placement, microbatches, equal_costs(placement.stages(), stage_costs({})));
    draw_memory(random, instance.tracks);
    const std::int64_t least = least_limit(instance.tracks);
    instance.tracks.limit = least;
    EXPECT_TRUE(optimum_of(instance.tracks).has_value()) << "turn " << turn;
    instance.tracks.limit = least - 1;
    EXPECT_FALSE(optimum_of(instance.tracks).has_value()) << "turn " << turn;
  }
}

}  // namespace
}  // namespace dualpipe
