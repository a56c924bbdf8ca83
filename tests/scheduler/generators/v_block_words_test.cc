#include "scheduler/generators/v_block_words.h"

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
#include "scheduler/arrange/periodic.h"
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

std::size_t at(int index) {
  return static_cast<std::size_t>(index);
}

// When a rank begins its early forward, late forward, late input half and early input half.
using Begins = std::array<int, 4>;

// The weight halves take the next slots that are free in every period.
PeriodicPlan block_of(const std::vector<Begins>& begins, int period) {
  const int ranks = static_cast<int>(begins.size());
  const std::vector<Time> none(at(2 * ranks));
  PeriodicPlan plan{.period = Time(period), .forward = none, .input = none, .weight = none};
  for (int rank = 0; rank < ranks; ++rank) {
    const Begins& own = begins[at(rank)];
    const std::size_t late = at(2 * ranks - 1 - rank);
    plan.forward[at(rank)] = Time(own[0]);
    plan.forward[late] = Time(own[1]);
    plan.input[late] = Time(own[2]);
    plan.input[at(rank)] = Time(own[3]);
    std::vector<bool> taken(at(period), false);
    for (const int begin : own) {
      taken[at(begin % period)] = true;
    }
    const auto next_free = [&](int slot) {
      do {
        ++slot;
      } while (taken[at(slot % period)]);
      taken[at(slot % period)] = true;
      return Time(slot);
    };
    plan.weight[late] = next_free(own[2]);
    plan.weight[at(rank)] = next_free(own[3]);
  }
  return plan;
}

// As published: a microbatch every six slots.
PeriodicPlan published_v_half(int ranks) {
  const int pause = ranks % 2 == 0 ? 3 : 0;
  std::vector<Begins> begins;
  for (int rank = 0; rank < ranks; ++rank) {
    begins.push_back({2 * rank, 3 * ranks - 2 - rank, 3 * ranks + pause + 2 * rank - 1,
                      6 * ranks + pause - 2 - rank});
  }
  return block_of(begins, 6);
}

Tracks unit_tracks(int ranks, int microbatches) {
  return tracks_of(v_placement(ranks), microbatches, equal_costs(2 * ranks, stage_costs({})));
}

std::int64_t most_of_any_rank(const Tracks& tracks, const Words& words) {
  std::int64_t most = 0;
  for (const Word& word : words) {
    most = std::max(most, most_held(tracks, word));
  }
  return most;
}

// Of the paper, for P even and M >= 2P: 6M + 3P - 7 slots, and P + 2 stage activations. In so much
// memory no schedule of a V takes less.
TEST(VBlockWords, OfVHalfTakeTheTimeAndTheMemoryThatArePublished) {
  for (int ranks = 4; ranks <= 16; ranks += 2) {
    for (const int microbatches : {2 * ranks, 2 * ranks + 1, 4 * ranks}) {
      const Tracks tracks = unit_tracks(ranks, microbatches);
      const std::optional<Words> words = v_block_words(tracks, published_v_half(ranks));
      ASSERT_TRUE(words.has_value());
      EXPECT_EQ(WordTimes(tracks).measure(*words)->makespan, Time(6 * microbatches + 3 * ranks - 7))
          << ranks << " ranks\n"
          << to_text(*words);
      EXPECT_LE(most_of_any_rank(tracks, *words), ranks + 2);
    }
  }
}

// A block of any period and any pauses; none if two passes of a rank fall into one slot.
std::optional<PeriodicPlan> random_block(std::mt19937& random, int ranks) {
  const int period = draw(random, 6, 8);
  std::vector<Begins> begins(at(ranks));
  int slot = 0;
  for (std::size_t leg = 0; leg < 4; ++leg) {
    const int step = draw(random, 1, 3);
    for (int place = 0; place < ranks; ++place) {
      const bool down = leg % 2 == 0;
      begins[at(down ? place : ranks - 1 - place)][leg] = slot;
      slot += step;
    }
    slot += draw(random, 0, 5);
  }
  for (const Begins& own : begins) {
    std::vector<int> slots;
    for (const int begin : own) {
      slots.push_back(begin % period);
    }
    std::ranges::sort(slots);
    if (std::ranges::adjacent_find(slots) != slots.end()) {
      return std::nullopt;
    }
  }
  return block_of(begins, period);
}

TEST(VBlockWords, AreCompleteAndLiveAndHoldNoMoreThanTheBlock) {
  int made = 0;
  for (unsigned seed = 0; seed < 6000; ++seed) {
    std::mt19937 random(seed);
    const int ranks = draw(random, 1, 6);
    const std::optional<PeriodicPlan> block = random_block(random, ranks);
    if (!block) {
      continue;
    }
    const Instance instance = instance_of(v_placement(ranks), draw(random, 1, 3 * ranks),
                                          random_costs(random, 2 * ranks));
    const std::optional<Words> words = v_block_words(instance.tracks, *block);
    if (!words) {
      continue;
    }
    ++made;
    SCOPED_TRACE("seed " + std::to_string(seed) + "\n" + to_text(*words));
    EXPECT_THAT(compile(schedule_of(instance, *words), eager).violations, IsEmpty());
    EXPECT_LE(most_of_any_rank(instance.tracks, *words),
              std::ranges::max(peaks_of(unit_tracks(ranks, 1), *block)));
  }
  EXPECT_GT(made, 250);
}

}  // namespace
}  // namespace dualpipe
