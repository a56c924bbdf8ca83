// Words of the tests: as text, at random, and all that there are.

#pragma once

#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "costs/cost_model.h"
#include "scheduler/arrange/tracks.h"
#include "scheduler/memory.h"
#include "scheduler/pipeline.h"
#include "scheduler/schedule.h"

namespace dualpipe {

// "F0 I0 W0": kind and track of every letter, one text per rank.
[[nodiscard]] Words words_from(const std::vector<std::string_view>& ranks);

// One line per rank.
[[nodiscard]] std::string to_text(const Words& words);

// A pipeline to be arranged, and the tracks made of it; their limit is for the test to set.
struct Instance {
  Placement placement;
  int microbatches = 0;
  CostModel costs;
  Tracks tracks;
};

[[nodiscard]] Instance instance_of(const Placement& placement, int microbatches,
                                   const CostModel& costs);

// Linear, looped, zig-zag or bidirectional, up to four ranks and five microbatches, and every stage
// with costs of its own, from 0 to 100 ns.
[[nodiscard]] Instance random_instance(std::mt19937& random);

// As above for the placements that cost-aware families use: linear or a V.
[[nodiscard]] Instance random_family_instance(std::mt19937& random);

// What ops hold, drawn in one of the units that a limit may have: stage activations, halves of
// them, or bytes, of which an input half may leave more than it finds. Returns the same by stage.
std::vector<StageBytes> draw_memory(std::mt19937& random, Tracks& tracks);

[[nodiscard]] Schedule schedule_of(const Instance& instance, const Words& words);

// The words of a run that takes any letter that can be run, whatever it holds.
[[nodiscard]] Words random_words(std::mt19937& random, const Tracks& tracks);

// The most that a rank comes to hold, counted letter by letter.
[[nodiscard]] std::int64_t most_held(const Tracks& tracks, const Word& word);

// Every word of the rank that holds the limit and runs nothing before what it reads there. For tiny
// instances.
[[nodiscard]] std::vector<Word> all_words(const Tracks& tracks, int rank);

// The times of the best words that there are, by trying all of them; none if no words can be timed.
struct Optimum {
  Time makespan{};
  Time longest_rank_time{};  // each on its own: no one schedule need have both
};
[[nodiscard]] std::optional<Optimum> optimum_of(const Tracks& tracks);

}  // namespace dualpipe
