#include "scheduler/arrange/core.h"

#include <algorithm>
#include <cstddef>
#include <limits>
#include <optional>
#include <random>
#include <tuple>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/cost_model.h"
#include "scheduler/arrange/anneal.h"
#include "scheduler/arrange/list_schedule.h"
#include "scheduler/arrange/policies.h"
#include "scheduler/arrange/tracks.h"
#include "scheduler/arrange/word_times.h"
#include "scheduler/compile.h"
#include "scheduler/op.h"
#include "scheduler/pipeline.h"
#include "tests/support/random_schedule.h"
#include "tests/support/simulated.h"
#include "tests/support/words.h"

namespace dualpipe {
namespace {

using testing::IsEmpty;

Instance equal_instance(const Placement& placement, int microbatches) {
  return instance_of(placement, microbatches, equal_costs(placement.stages(), stage_costs({})));
}

Word part(const Word& word, int begin, int end) {
  return {word.begin() + begin, word.begin() + end};
}

int end_of(const Core& core) {
  return core.begin + core.length * core.copies;
}

// Prologue, the first copy so many times, epilogue.
Word spelled(const Word& word, const Core& core, int copies) {
  Word spelling = part(word, 0, core.begin);
  for (int copy = 0; copy < copies; ++copy) {
    const Word one = part(word, core.begin, core.begin + core.length);
    spelling.insert(spelling.end(), one.begin(), one.end());
  }
  const Word epilogue = part(word, end_of(core), static_cast<int>(word.size()));
  spelling.insert(spelling.end(), epilogue.begin(), epilogue.end());
  return spelling;
}

// In an order that says nothing but how often each letter is there.
Word sorted(Word word) {
  std::ranges::sort(word, {}, [](const Letter& letter) {
    return std::tuple(letter.track, static_cast<char>(letter.kind));
  });
  return word;
}

// Every letter of the rank, once for each microbatch.
Word sorted_letters(const Tracks& tracks, int rank, int microbatches) {
  Word word;
  for (const int track : tracks.of_rank[static_cast<std::size_t>(rank)]) {
    for (const OpKind kind : {OpKind::forward, OpKind::backward_input, OpKind::backward_weight}) {
      word.insert(word.end(), static_cast<std::size_t>(microbatches), {kind, track});
    }
  }
  return sorted(word);
}

// The most copies that any stretch of the word has of a piece that brings so many microbatches
// forward, by trying every place.
int most_copies(const Tracks& tracks, const Word& word, int rank, int microbatches) {
  const Word letters = sorted_letters(tracks, rank, microbatches);
  const int length = static_cast<int>(letters.size());
  const int size = static_cast<int>(word.size());
  int most = 0;
  for (int begin = 0; begin + length <= size; ++begin) {
    const Word piece = part(word, begin, begin + length);
    if (sorted(piece) != letters) {
      continue;
    }
    int end = begin + length;
    while (end + length <= size && part(word, end, end + length) == piece) {
      end += length;
    }
    most = std::max(most, (end - begin) / length);
  }
  return most;
}

struct Expected {
  int microbatches = 0;  // none: no core
  int copies = 0;
};

Expected expected_cores(const Tracks& tracks, const Words& words) {
  const int all = tracks.tracks.front().microbatches;
  for (int microbatches = 1; microbatches <= all / 2; ++microbatches) {
    int copies = std::numeric_limits<int>::max();
    for (int rank = 0; rank < tracks.ranks(); ++rank) {
      const Word& word = words[static_cast<std::size_t>(rank)];
      copies = std::min(copies, most_copies(tracks, word, rank, microbatches));
    }
    const bool divides = core_microbatches_multiple % microbatches == 0;
    if (divides && copies >= 2 && 2 * copies * microbatches >= all) {
      return {.microbatches = microbatches, .copies = copies};
    }
  }
  return {};
}

void expect_spelled(const Tracks& tracks, const Words& words, const Cores& cores) {
  ASSERT_EQ(cores.of_rank.size(), words.size());
  for (int rank = 0; rank < tracks.ranks(); ++rank) {
    const Word& word = words[static_cast<std::size_t>(rank)];
    const Core& core = cores.of_rank[static_cast<std::size_t>(rank)];
    EXPECT_EQ(core.copies, cores.of_rank.front().copies);
    ASSERT_GE(core.begin, 0);
    ASSERT_LE(end_of(core), static_cast<int>(word.size()));
    EXPECT_EQ(spelled(word, core, core.copies), word);
    EXPECT_EQ(sorted(part(word, core.begin, core.begin + core.length)),
              sorted_letters(tracks, rank, cores.microbatches));
  }
}

//   rank 0  F0 | F0 I0 W0 | F0 I0 W0 | F0 I0 W0 | I0 W0
//   rank 1    F1 I1 W1 | F1 I1 W1 | F1 I1 W1 | F1 I1 W1
TEST(FindCores, SeesTheSteadyStateOfOneForwardOneBackward) {
  const Instance instance = equal_instance(linear_placement(2), 4);
  const Words words =
      words_from({"F0 F0 I0 W0 F0 I0 W0 F0 I0 W0 I0 W0", "F1 I1 W1 F1 I1 W1 F1 I1 W1 F1 I1 W1"});
  const std::optional<Cores> cores = find_cores(instance.tracks, words);
  ASSERT_TRUE(cores.has_value());
  EXPECT_EQ(cores->microbatches, 1);
  EXPECT_EQ(cores->of_rank[0].begin, 1);
  EXPECT_EQ(cores->of_rank[0].length, 3);
  EXPECT_EQ(cores->of_rank[0].copies, 3);
  expect_spelled(instance.tracks, words, *cores);
}

TEST(FindCores, TakesNoRunOfALetterForACore) {
  const Instance instance = equal_instance(linear_placement(1), 12);
  const Words words = words_from(
      {"F0 F0 F0 F0 F0 F0 F0 F0 F0 F0 F0 F0 I0 I0 I0 I0 I0 I0 I0 I0 I0 I0 I0 I0 W0 W0 W0 W0 W0 "
       "W0 W0 W0 W0 W0 W0 W0"});
  EXPECT_FALSE(find_cores(instance.tracks, words).has_value());
}

// F0 I0 F0 I0 F0 I0 is as long as the letters of two microbatches, and there twice.
TEST(FindCores, TakesNoStretchWithoutWeightHalvesForACore) {
  const Instance instance = equal_instance(linear_placement(1), 6);
  const Words words = words_from({"F0 I0 F0 I0 F0 I0 F0 I0 F0 I0 F0 I0 W0 W0 W0 W0 W0 W0"});
  EXPECT_FALSE(find_cores(instance.tracks, words).has_value());
}

TEST(FindCores, WantsTwoCopiesOnEveryRankAndHalfOfTheMicrobatches) {
  const Instance one = equal_instance(linear_placement(1), 1);
  EXPECT_FALSE(find_cores(one.tracks, words_from({"F0 I0 W0"})).has_value());
  const Instance two = equal_instance(linear_placement(2), 2);
  EXPECT_FALSE(find_cores(two.tracks, words_from({"F0 F0 I0 I0 W0 W0", "F1 I1 W1 F1 I1 W1"})));
  const Instance five = equal_instance(linear_placement(1), 5);
  EXPECT_FALSE(find_cores(five.tracks, words_from({"F0 F0 F0 I0 W0 F0 I0 W0 F0 I0 I0 I0 W0 W0 W0"}))
                   .has_value());
}

// A random piece several times between random letters: some have that core, some a shorter one,
// some none. No matter here whether such words could run.
Words repetitive_words(std::mt19937& random, Tracks& tracks) {
  const int microbatches = draw(random, 1, 5);
  const int copies = draw(random, 1, 5);
  const int rest = draw(random, 0, 5);
  for (Track& track : tracks.tracks) {
    track.microbatches = microbatches * copies + rest;
  }
  Words words;
  for (int rank = 0; rank < tracks.ranks(); ++rank) {
    Word piece = sorted_letters(tracks, rank, microbatches);
    Word around = sorted_letters(tracks, rank, rest);
    std::ranges::shuffle(piece, random);
    std::ranges::shuffle(around, random);
    const int begin = draw(random, 0, static_cast<int>(around.size()));
    Word& word = words.emplace_back(part(around, 0, begin));
    for (int copy = 0; copy < copies; ++copy) {
      word.insert(word.end(), piece.begin(), piece.end());
    }
    word.insert(word.end(), around.begin() + begin, around.end());
  }
  return words;
}

TEST(FindCores, FindsTheShortestInAllItsCopiesAndNoneWhereThereIsNone) {
  int found = 0;
  int none = 0;
  for (unsigned seed = 0; seed < 1000; ++seed) {
    std::mt19937 random(seed);
    const int ranks = draw(random, 1, 2);
    Tracks tracks =
        equal_instance(draw(random, 0, 1) == 0 ? linear_placement(ranks) : v_placement(ranks), 1)
            .tracks;
    const Words words = repetitive_words(random, tracks);
    SCOPED_TRACE(testing::Message() << "seed " << seed << "\n" << to_text(words));
    const Expected expected = expected_cores(tracks, words);
    const std::optional<Cores> cores = find_cores(tracks, words);
    ASSERT_EQ(cores.has_value(), expected.microbatches > 0);
    if (!cores) {
      ++none;
      continue;
    }
    ++found;
    EXPECT_EQ(cores->microbatches, expected.microbatches);
    EXPECT_EQ(cores->of_rank.front().copies, expected.copies);
    expect_spelled(tracks, words, *cores);
  }
  EXPECT_GT(found, 200);
  EXPECT_GT(none, 200);
}

// A list schedule, and its cores.
struct Listed {
  Instance instance;
  Words words;
  Cores cores;
};

// Of random costs and memory; one that has cores among the first policies, or none.
std::optional<Listed> random_listed(std::mt19937& random) {
  const int ranks = draw(random, 1, 4);
  const Placement placement =
      draw(random, 0, 1) == 0 ? linear_placement(ranks) : v_placement(ranks);
  const CostModel costs = draw(random, 0, 1) == 0
                              ? random_costs(random, placement.stages())
                              : equal_costs(placement.stages(), stage_costs({}), Time(1));
  Instance instance = instance_of(placement, 2 * ranks + 8 + draw(random, 0, 8), costs);
  draw_memory(random, instance.tracks);
  instance.tracks.limit = least_limit(instance.tracks) + draw(random, 0, 20);
  Policies policies(instance.tracks);
  for (int turn = 0; turn < 20; ++turn) {
    const std::optional<Words> words = list_schedule(instance.tracks, policies.next());
    const std::optional<Cores> cores =
        words ? find_cores(instance.tracks, *words) : std::optional<Cores>();
    if (cores) {
      return Listed{.instance = instance, .words = *words, .cores = *cores};
    }
  }
  return std::nullopt;
}

TEST(Extend, MakesCompleteWordsThatCompileHoldNoMoreAndHaveSoManyMoreCopies) {
  int extended = 0;
  for (unsigned seed = 0; seed < 300; ++seed) {
    std::mt19937 random(seed);
    std::optional<Listed> listed = random_listed(random);
    if (!listed) {
      continue;
    }
    ++extended;
    const int added = draw(random, 0, 6);
    const int more = added * listed->cores.microbatches;
    const Words longer = extend(listed->words, listed->cores, more);
    SCOPED_TRACE(testing::Message() << "seed " << seed << ", " << more << " more than\n"
                                    << to_text(listed->words));
    Instance& instance = listed->instance;
    for (std::size_t rank = 0; rank < longer.size(); ++rank) {
      const Core& core = listed->cores.of_rank[rank];
      EXPECT_EQ(longer[rank], spelled(listed->words[rank], core, core.copies + added));
      EXPECT_EQ(most_held(instance.tracks, longer[rank]),
                most_held(instance.tracks, listed->words[rank]));
    }
    instance.microbatches += more;
    for (Track& track : instance.tracks.tracks) {
      track.microbatches += more;
    }
    EXPECT_THAT(compile_with_least_buffers(schedule_of(instance, longer)).violations, IsEmpty());
    const std::optional<Cores> cores = find_cores(instance.tracks, longer);
    ASSERT_TRUE(cores.has_value());
    EXPECT_EQ(cores->microbatches, listed->cores.microbatches);
    EXPECT_EQ(cores->of_rank.front().copies, listed->cores.of_rank.front().copies + added);
  }
  EXPECT_GT(extended, 150);
}

TEST(Extend, RefusesAPartOfACopy) {
  const Instance instance = equal_instance(linear_placement(1), 4);
  const Words words = words_from({"F0 F0 I0 W0 I0 W0 F0 F0 I0 W0 I0 W0"});
  const std::optional<Cores> cores = find_cores(instance.tracks, words);
  ASSERT_TRUE(cores.has_value());
  ASSERT_EQ(cores->microbatches, 2);
  EXPECT_DEATH(static_cast<void>(extend(words, *cores, 3)), "microbatches");
}

// Annealing with cores changes copies all alike, and moves nothing in or out of them.
TEST(AnnealedCores, StayEqualAndKeepTheirLetters) {
  int listed_count = 0;
  int cores_changed = 0;
  for (unsigned seed = 0; seed < 150; ++seed) {
    std::mt19937 random(seed);
    const std::optional<Listed> listed = random_listed(random);
    if (!listed) {
      continue;
    }
    ++listed_count;
    SCOPED_TRACE(testing::Message() << "seed " << seed << "\n" << to_text(listed->words));
    const Tracks& tracks = listed->instance.tracks;
    const AnnealingOptions options{.objective = {},
                                   .letters = 200 * tracks.letters(),
                                   .seed = seed,
                                   .cores = listed->cores.of_rank};
    const Words annealed = anneal(tracks, listed->words, options);
    expect_spelled(tracks, annealed, listed->cores);
    bool changed = false;
    for (std::size_t rank = 0; rank < annealed.size(); ++rank) {
      const Core& core = listed->cores.of_rank[rank];
      const Word& before = listed->words[rank];
      EXPECT_EQ(sorted(part(annealed[rank], 0, core.begin)), sorted(part(before, 0, core.begin)));
      EXPECT_EQ(sorted(annealed[rank]), sorted(before));
      changed = changed || part(annealed[rank], core.begin, end_of(core)) !=
                               part(before, core.begin, end_of(core));
    }
    cores_changed += changed ? 1 : 0;
    WordTimes timer(tracks);
    const std::optional<StepTimes> times_before = timer.measure(listed->words);
    const std::optional<StepTimes> times_after = timer.measure(annealed);
    ASSERT_TRUE(times_before && times_after);
    EXPECT_LE(options.objective(*times_after), options.objective(*times_before));
  }
  EXPECT_GT(listed_count, 75);
  EXPECT_GT(cores_changed, 20);
}

}  // namespace
}  // namespace dualpipe
