#include "scheduler/arrange/policies.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <random>
#include <tuple>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/cost_model.h"
#include "scheduler/arrange/list_schedule.h"
#include "scheduler/arrange/tracks.h"
#include "scheduler/pipeline.h"
#include "tests/support/random_schedule.h"
#include "tests/support/simulated.h"
#include "tests/support/words.h"

namespace dualpipe {
namespace {

using testing::Each;
using testing::Ge;

Tracks equal_tracks(const Placement& placement) {
  return tracks_of(placement, 20, equal_costs(placement.stages(), stage_costs({})));
}

auto fields_of(const ListPolicy& policy) {
  return std::tuple(policy.inputs_first, policy.forwards, policy.forward_targets,
                    policy.input_targets, policy.period, policy.strict, policy.in_flight_max,
                    policy.gap_percent, policy.level_idle, policy.weights_waiting_max);
}
using Fields = decltype(fields_of({}));

// Every third policy is kept, with a value made up; `sign` says which are the better ones.
std::vector<Fields> series_of(const Tracks& tracks, int sign, int length) {
  Policies policies(tracks);
  std::vector<Fields> series;
  for (int turn = 0; turn < length; ++turn) {
    const ListPolicy policy = policies.next();
    series.push_back(fields_of(policy));
    if (turn % 3 == 0) {
      policies.keep(policy, std::int64_t{sign} * (turn * 37 % 101));
    }
  }
  return series;
}

TEST(Policies, AreTheSameForTheSameInput) {
  for (const Placement& placement : {linear_placement(4), v_placement(4)}) {
    const Tracks tracks = equal_tracks(placement);
    EXPECT_EQ(series_of(tracks, 1, 600), series_of(tracks, 1, 600));
  }
}

TEST(Policies, LetEveryTrackHaveAMicrobatchUnderWay) {
  int capped = 0;
  for (unsigned seed = 0; seed < 40; ++seed) {
    std::mt19937 random(seed);
    Instance instance = random_family_instance(random);
    Tracks& tracks = instance.tracks;
    draw_memory(random, tracks);
    if (seed % 2 == 0) {
      tracks.limit = least_limit(tracks) + draw(random, 0, 5);
    }
    Policies policies(tracks);
    for (int turn = 0; turn < 400; ++turn) {
      const ListPolicy policy = policies.next();
      SCOPED_TRACE(testing::Message() << "seed " << seed << ", turn " << turn);
      if (!policy.in_flight_max.empty()) {
        ++capped;
        EXPECT_EQ(policy.in_flight_max.size(), tracks.tracks.size());
        EXPECT_THAT(policy.in_flight_max, Each(Ge(1)));
      }
      EXPECT_GE(policy.weights_waiting_max, 1);
      EXPECT_GE(policy.gap_percent, 0);
      EXPECT_LE(policy.gap_percent, 100);
      policies.keep(policy, turn % 50);
    }
  }
  EXPECT_GT(capped, 4000);
}

// For one stage per rank the first policies are fixed: whatever is kept, and nothing of it drawn.
TEST(Policies, BeginWithAFixedSeriesForOneStagePerRank) {
  const Tracks linear = equal_tracks(linear_placement(4));
  constexpr int fixed_at_least = 100;
  EXPECT_EQ(series_of(linear, 1, fixed_at_least), series_of(linear, -1, fixed_at_least));
  Policies policies(linear);
  ListPolicy alien;
  alien.period = Time(7);
  policies.keep(alien, 0);
  for (int turn = 0; turn < fixed_at_least; ++turn) {
    const ListPolicy policy = policies.next();
    EXPECT_EQ(policy.period, Time{});
    EXPECT_EQ(policy.forwards, ListPolicy::Forwards::later_stage);
    EXPECT_EQ(policy.weights_waiting_max, ListPolicy::unlimited);
    EXPECT_EQ(policy.in_flight_max.size(), linear.tracks.size());
  }
}

// Qi et al. (2024), section 2: with F = I = W, ZB-H2 begins with 2P-1 forwards on the first rank,
// and two fewer on every other.
TEST(Policies, BeginWithTheWarmUpOfZbH2WhereAllOpsAreEqual) {
  for (int ranks = 1; ranks <= 8; ++ranks) {
    const Tracks tracks = equal_tracks(linear_placement(ranks));
    std::vector<int> warm_up;
    for (int rank = 0; rank < ranks; ++rank) {
      warm_up.push_back(2 * (ranks - rank) - 1);
    }
    EXPECT_EQ(Policies(tracks).next().in_flight_max, warm_up);
  }
}

// Where transfers take as long as ops, a gradient is back two ops later for every rank on the way.
TEST(Policies, AdmitMoreForwardsWhereTransfersTakeLonger) {
  const Tracks tracks =
      tracks_of(linear_placement(4), 20, equal_costs(4, stage_costs({}), Time(1)));
  const std::vector<int> near = Policies(equal_tracks(linear_placement(4))).next().in_flight_max;
  const std::vector<int> far = Policies(tracks).next().in_flight_max;
  EXPECT_EQ(far.back(), near.back());
  for (std::size_t rank = 0; rank + 1 < far.size(); ++rank) {
    EXPECT_GT(far[rank], near[rank]) << "rank " << rank;
  }
}

TEST(Policies, OfAVDrawEveryOrderOfForwards) {
  const Tracks tracks = equal_tracks(v_placement(4));
  Policies policies(tracks);
  std::array<int, 5> seen{};
  for (int turn = 0; turn < 100; ++turn) {
    ++seen.at(static_cast<std::size_t>(policies.next().forwards));
  }
  EXPECT_THAT(seen, Each(Ge(1)));
}

// The period stands for a name: policies that are drawn have none, and variations keep it.
TEST(Policies, VaryTheBestThatAreKept) {
  const Tracks tracks = equal_tracks(v_placement(4));
  Policies policies(tracks);
  constexpr int names = 40;
  for (int name = names; name > 0; --name) {
    ListPolicy policy;
    policy.period = Time(name);
    policies.keep(policy, name);
  }
  std::vector<int> seen(names + 1);
  std::vector<Fields> variations_of_best;
  for (int turn = 0; turn < 1000; ++turn) {
    const ListPolicy policy = policies.next();
    ++seen[static_cast<std::size_t>(policy.period.count())];
    if (policy.period == Time(1)) {
      variations_of_best.push_back(fields_of(policy));
    }
  }
  EXPECT_GT(seen[0], 0);
  EXPECT_EQ(std::ranges::max_element(seen.begin() + 1, seen.end()) - seen.begin(), 1);
  EXPECT_EQ(seen.back(), 0);
  ASSERT_FALSE(variations_of_best.empty());
  EXPECT_TRUE(std::ranges::any_of(variations_of_best, [&](const Fields& fields) {
    return fields != variations_of_best.front();
  }));
}

}  // namespace
}  // namespace dualpipe
