#include "scheduler/arrange/core.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <limits>
#include <optional>
#include <vector>

#include "costs/check.h"
#include "scheduler/arrange/tracks.h"

namespace dualpipe {
namespace {

// The longest stretch in which every letter is the one `length` letters before it.
Core find_core(const Word& word, int length) {
  const auto letter = [&](int position) { return word[static_cast<std::size_t>(position)]; };
  const int letters = static_cast<int>(word.size());
  Core best{.begin = 0, .length = length, .copies = 1};
  int begin = 0;
  for (int position = length; position <= letters; ++position) {
    if (position < letters && letter(position) == letter(position - length)) {
      continue;
    }
    const int copies = (position - begin) / length;
    if (copies > best.copies) {
      best.begin = begin;
      best.copies = copies;
    }
    begin = position - length + 1;
  }
  return best;
}

// Whether a copy has every letter of the rank's tracks as often as it has microbatches.
bool is_balanced(const Tracks& tracks, const Word& word, const Core& core, int microbatches) {
  std::vector<std::array<int, 3>> counts(tracks.tracks.size());
  for (int position = core.begin; position < core.begin + core.length; ++position) {
    const Letter& letter = word[static_cast<std::size_t>(position)];
    if (++counts[static_cast<std::size_t>(letter.track)][letter_index(letter.kind)] >
        microbatches) {
      return false;
    }
  }
  return true;
}

std::optional<Cores> find_cores_of(const Tracks& tracks, const Words& words, int microbatches) {
  Cores cores{.microbatches = microbatches, .of_rank = {}};
  int copies = std::numeric_limits<int>::max();
  for (std::size_t rank = 0; rank < words.size(); ++rank) {
    const int letters = 3 * static_cast<int>(tracks.of_rank[rank].size()) * microbatches;
    if (letters > static_cast<int>(words[rank].size())) {
      return std::nullopt;
    }
    cores.of_rank.push_back(find_core(words[rank], letters));
    if (!is_balanced(tracks, words[rank], cores.of_rank.back(), microbatches)) {
      return std::nullopt;
    }
    copies = std::min(copies, cores.of_rank.back().copies);
  }
  // Less than half of the microbatches is no steady state: better leave every letter free to move.
  if (copies < 2 || 2 * copies * microbatches < tracks.tracks.front().microbatches) {
    return std::nullopt;
  }
  for (Core& core : cores.of_rank) {
    // What is over goes to the prologue and the epilogue in equal parts.
    core.begin += (core.copies - copies) / 2 * core.length;
    core.copies = copies;
  }
  return cores;
}

}  // namespace

std::optional<Cores> find_cores(const Tracks& tracks, const Words& words) {
  constexpr int microbatches_max = 12;
  for (int microbatches = 1; microbatches <= microbatches_max; ++microbatches) {
    if (core_microbatches_multiple % microbatches != 0) {
      continue;
    }
    if (std::optional<Cores> cores = find_cores_of(tracks, words, microbatches)) {
      return cores;
    }
  }
  return std::nullopt;
}

Words extend(const Words& words, const Cores& cores, int microbatches) {
  CHECK(microbatches % cores.microbatches == 0);
  Words longer;
  for (std::size_t rank = 0; rank < words.size(); ++rank) {
    const Core& core = cores.of_rank[rank];
    const auto begin = words[rank].begin() + core.begin;
    Word& word = longer.emplace_back(words[rank].begin(), begin);
    for (int copy = 0; copy < microbatches / cores.microbatches; ++copy) {
      word.insert(word.end(), begin, begin + core.length);
    }
    word.insert(word.end(), begin, words[rank].end());
  }
  return longer;
}

}  // namespace dualpipe
