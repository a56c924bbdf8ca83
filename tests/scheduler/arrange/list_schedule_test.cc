#include "scheduler/arrange/list_schedule.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/cost_model.h"
#include "scheduler/arrange/tracks.h"
#include "scheduler/compile.h"
#include "scheduler/op.h"
#include "scheduler/pipeline.h"
#include "tests/support/random_schedule.h"
#include "tests/support/schedules.h"
#include "tests/support/simulated.h"
#include "tests/support/words.h"

namespace dualpipe {
namespace {

using testing::IsEmpty;

Tracks two_linear_ranks(std::int64_t limit) {
  Tracks tracks = tracks_of(linear_placement(2), 3, equal_costs(2, stage_costs({})));
  tracks.limit = limit;
  return tracks;
}

//   slot     0  1  2  3  4  5  6  7  8  9
//   rank 0  F0 F1 F2 I0 W0 I1 W1 I2 W2
//   rank 1     F0 I0 F1 I1 F2 I2 W0 W1 W2
TEST(ListSchedule, RunsInputHalvesFirstAndWeightHalvesInGaps) {
  EXPECT_EQ(list_schedule(two_linear_ranks(Tracks::unlimited), ListPolicy{}),
            words_from({"F0 F0 F0 I0 W0 I0 W0 I0 W0", "F1 I1 F1 I1 F1 I1 W1 W1 W1"}));
}

// The third forward must wait for the first weight half:
//
//   slot     0  1  2  3  4  5  6  7  8  9 10
//   rank 0  F0 F1    I0 W0 I1 F2 W1    I2 W2
//   rank 1     F0 I0 F1 I1 W0 W1 F2 I2 W2
TEST(ListSchedule, WaitsForMemory) {
  EXPECT_EQ(list_schedule(two_linear_ranks(2), ListPolicy{}),
            words_from({"F0 F0 I0 W0 I0 F0 W0 I0 W0", "F1 I1 F1 I1 W1 W1 F1 I1 W1"}));
}

// A cap counts up to the input half, so the first forward may be followed by the second as soon as
// the first gradient is there.
//
//   slot     0  1  2  3  4  5  6  7  8  9
//   rank 0  F0       I0 F1 W0    I1 F2 ..
TEST(ListSchedule, HoldsTheCapOfATrack) {
  ListPolicy policy;
  policy.in_flight_max = {1, 1};
  EXPECT_EQ(list_schedule(two_linear_ranks(Tracks::unlimited), policy),
            words_from({"F0 I0 F0 W0 I0 F0 W0 I0 W0", "F1 I1 W1 F1 I1 W1 F1 I1 W1"}));
}

// Rank 0 could run its second forward at once, but the plan has it after the first input half.
TEST(ListSchedule, StrictlyInTheOrderOfAPlanWaitsForIt) {
  ListPolicy policy;
  policy.forward_targets = {Time(0), Time(1)};
  policy.input_targets = {Time(3), Time(2)};
  policy.period = Time(4);
  policy.strict = ListPolicy::Strict::always;
  EXPECT_EQ(list_schedule(two_linear_ranks(Tracks::unlimited), policy),
            words_from({"F0 I0 F0 W0 I0 F0 W0 I0 W0", "F1 I1 W1 F1 I1 W1 F1 I1 W1"}));
}

ListPolicy random_policy(std::mt19937& random, const Tracks& tracks) {
  using Forwards = ListPolicy::Forwards;
  using Strict = ListPolicy::Strict;
  constexpr std::array orders{Forwards::later_stage, Forwards::earlier_stage, Forwards::oldest,
                              Forwards::oldest_later, Forwards::waiting};
  constexpr std::array stricts{Strict::never, Strict::steady, Strict::always, Strict::returned};
  ListPolicy policy;
  policy.inputs_first = draw(random, 0, 1) == 0;
  policy.forwards = orders.at(static_cast<std::size_t>(draw(random, 0, 4)));
  policy.gap_percent = draw(random, 0, 150);
  policy.level_idle = draw(random, 0, 1) == 0;
  policy.weights_waiting_max = draw(random, 0, 1) == 0 ? draw(random, 0, 4) : ListPolicy::unlimited;
  const bool capped = draw(random, 0, 1) == 0;
  const bool planned = draw(random, 0, 2) == 0;
  for (std::size_t track = 0; track < tracks.tracks.size(); ++track) {
    if (capped) {
      policy.in_flight_max.push_back(draw(random, 1, 6));
    }
    if (planned) {
      policy.forward_targets.emplace_back(draw(random, 0, 500));
      policy.input_targets.emplace_back(draw(random, 0, 500));
      policy.reserved.push_back(draw(random, 1, 4));
    }
  }
  if (planned) {
    policy.period = Time(draw(random, 1, 300));
    policy.strict = stricts.at(static_cast<std::size_t>(draw(random, 0, 3)));
  }
  return policy;
}

int most_in_flight(const Word& word, int track) {
  int in_flight = 0;
  int most = 0;
  for (const Letter& letter : word) {
    if (letter.track == track) {
      in_flight += letter.kind == OpKind::forward          ? 1
                   : letter.kind == OpKind::backward_input ? -1
                                                           : 0;
      most = std::max(most, in_flight);
    }
  }
  return most;
}

TEST(ListSchedule, OfAnyPolicyIsCompleteAndLiveAndHoldsWhatItMust) {
  int made = 0;
  constexpr unsigned seeds = 3000;
  for (unsigned seed = 0; seed < seeds; ++seed) {
    std::mt19937 random(seed);
    Instance instance = random_family_instance(random);
    Tracks& tracks = instance.tracks;
    draw_memory(random, tracks);
    if (draw(random, 0, 3) > 0) {
      tracks.limit = least_limit(tracks) + draw(random, 0, 8);
    }
    const ListPolicy policy = random_policy(random, tracks);
    const std::optional<Words> words = list_schedule(tracks, policy);
    if (!words) {
      continue;
    }
    ++made;
    SCOPED_TRACE("seed " + std::to_string(seed) + "\n" + to_text(*words));
    EXPECT_THAT(compile(schedule_of(instance, *words), eager).violations, IsEmpty());
    for (const Word& word : *words) {
      EXPECT_LE(most_held(tracks, word), tracks.limit);
    }
    for (int track = 0; track < static_cast<int>(policy.in_flight_max.size()); ++track) {
      const Word& word = (*words)[static_cast<std::size_t>(tracks[track].rank)];
      EXPECT_LE(most_in_flight(word, track), policy.in_flight_max[static_cast<std::size_t>(track)]);
    }
  }
  EXPECT_GT(made, static_cast<int>(seeds) / 2);
}

// Keeping room for the later stages is what it takes, as long as no plan says otherwise.
TEST(ListSchedule, WithoutAPlanOrCapsNeverComesToAStandStill) {
  for (unsigned seed = 0; seed < 2000; ++seed) {
    std::mt19937 random(seed);
    Instance instance = random_family_instance(random);
    instance.tracks.limit = least_limit(instance.tracks) + draw(random, 0, 3);
    ListPolicy policy = random_policy(random, instance.tracks);
    policy.in_flight_max.clear();
    policy.forward_targets.clear();
    policy.input_targets.clear();
    policy.reserved.clear();
    policy.strict = ListPolicy::Strict::never;
    EXPECT_TRUE(list_schedule(instance.tracks, policy).has_value()) << "seed " << seed;
  }
}

}  // namespace
}  // namespace dualpipe
