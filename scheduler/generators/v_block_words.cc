#include "scheduler/generators/v_block_words.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "costs/check.h"
#include "costs/cost_model.h"
#include "scheduler/arrange/periodic.h"
#include "scheduler/arrange/tracks.h"
#include "scheduler/op.h"

namespace dualpipe {
namespace {

std::size_t at(int index) {
  return static_cast<std::size_t>(index);
}

// What a rank does with its early stage, on the way down, and its late one, on the way up. Which
// weight half runs does not matter on the way: in the end it is the one that has waited longest.
enum class Pass : std::uint8_t {
  early_forward,
  late_forward,
  late_input,
  early_input,
  weight,
  none,
};
constexpr std::size_t passes = 5;

using Row = std::vector<Pass>;  // a rank's passes in order or, with none in between, slot by slot
using Rows = std::vector<Row>;  // [rank]

struct Counts {
  std::array<int, passes + 1> of_pass{};

  int& operator[](Pass pass) { return of_pass[static_cast<std::size_t>(pass)]; }
  int operator[](Pass pass) const { return of_pass[static_cast<std::size_t>(pass)]; }
  [[nodiscard]] int weights_waiting() const {
    return (*this)[Pass::late_input] + (*this)[Pass::early_input] - (*this)[Pass::weight];
  }
};

// Stage activations that the pass adds to what the rank holds.
int held_by(Pass pass) {
  switch (pass) {
    case Pass::early_forward:
    case Pass::late_forward:
      return 1;
    case Pass::weight:
      return -1;
    default:
      return 0;
  }
}

int peak_of(const Row& row) {
  int held = 0;
  int peak = 0;
  for (const Pass pass : row) {
    held += held_by(pass);
    peak = std::max(peak, held);
  }
  return peak;
}

int peak_of(const Rows& rows) {
  int peak = 0;
  for (const Row& row : rows) {
    peak = std::max(peak, peak_of(row));
  }
  return peak;
}

// When the passes of every microbatch's way, down and up, down and up again, have ended.
class Progress {
 public:
  static constexpr int unknown = -1;

  Progress(int ranks, int microbatches)
      : ranks_(ranks),
        microbatches_(microbatches),
        ends_(at(4 * ranks) * at(microbatches), unknown),
        done_(at(ranks)) {}

  // First slot in which the rank's next pass of this kind could run.
  [[nodiscard]] int ready(int rank, Pass pass) const {
    if (pass == Pass::weight) {
      return done_[at(rank)].weights_waiting() > 0 ? 0 : unknown;
    }
    const int step = step_of(rank, pass);
    return step == 0 ? 0 : end(step - 1, done_[at(rank)][pass]);
  }

  void run(int rank, Pass pass, int slot) {
    const int microbatch = done_[at(rank)][pass]++;
    if (pass != Pass::weight) {
      ends_[at(step_of(rank, pass)) * at(microbatches_) + at(microbatch)] = slot + 1;
    }
  }

 private:
  [[nodiscard]] int step_of(int rank, Pass pass) const {
    switch (pass) {
      case Pass::early_forward:
        return rank;
      case Pass::late_forward:
        return 2 * ranks_ - 1 - rank;
      case Pass::late_input:
        return 2 * ranks_ + rank;
      default:
        return 4 * ranks_ - 1 - rank;
    }
  }
  [[nodiscard]] int end(int step, int microbatch) const {
    return ends_[at(step) * at(microbatches_) + at(microbatch)];
  }

  int ranks_;
  int microbatches_;
  std::vector<int> ends_;  // [step][microbatch]
  std::vector<Counts> done_;
};

// The rank's passes of so many microbatches, in the order of the block.
Row repeat(const PeriodicPlan& block, int rank, int ranks, int microbatches) {
  const std::size_t early = at(rank);
  const std::size_t late = at(2 * ranks - 1 - rank);
  const std::array<std::pair<Time, Pass>, 6> begins{{{block.forward[early], Pass::early_forward},
                                                     {block.forward[late], Pass::late_forward},
                                                     {block.input[late], Pass::late_input},
                                                     {block.input[early], Pass::early_input},
                                                     {block.weight[late], Pass::weight},
                                                     {block.weight[early], Pass::weight}}};
  const std::size_t period = static_cast<std::size_t>(block.period.count());
  const std::size_t last = static_cast<std::size_t>(std::ranges::max(begins).first.count());
  Row row(last + period * at(microbatches), Pass::none);
  for (const auto& [begin, pass] : begins) {
    std::size_t slot = static_cast<std::size_t>(begin.count());
    for (int microbatch = 0; microbatch < microbatches; ++microbatch, slot += period) {
      CHECK(row[slot] == Pass::none);
      row[slot] = pass;
    }
  }
  std::erase(row, Pass::none);
  return row;
}

// What comes before the rank's first early input half, anew: early forwards while microbatch 0 is
// below the rank, then early and late ones in turn until the memory is full, and from then on an
// input half and its weight half before each forward. Holds no more than `peak` if the row does
// not.
Row fill_pipeline(const Row& row, int rank, int ranks, int peak) {
  Counts left;
  const auto rest = std::ranges::find(row, Pass::early_input);
  for (auto pass = row.begin(); pass != rest; ++pass) {
    ++left[*pass];
  }
  Row filled;
  const auto put = [&](Pass pass) {
    if (left[pass] > 0) {
      --left[pass];
      filled.push_back(pass);
    }
  };
  int late_room = std::min(rank + 1, peak / 2);
  int early_room = peak - late_room;
  for (int slot = 0; slot < 2 * (ranks - 1 - rank) && early_room > 0; ++slot, --early_room) {
    put(Pass::early_forward);
  }
  for (; early_room > 0 || late_room > 0; --early_room, --late_room) {
    if (early_room > 0) {
      put(Pass::early_forward);
    }
    if (late_room > 0) {
      put(Pass::late_forward);
    }
  }
  while (std::ranges::any_of(left.of_pass, [](int count) { return count > 0; })) {
    put(Pass::late_input);
    put(Pass::weight);
    put(left[Pass::late_forward] > 0 ? Pass::late_forward : Pass::early_forward);
  }
  filled.insert(filled.end(), rest, row.end());
  return filled;
}

// The row without what comes after its first so many microbatches.
Row cut(const Row& row, int microbatches) {
  Row kept;
  Counts counts;
  for (const Pass pass : row) {
    if (pass == Pass::weight ? counts.weights_waiting() > 0 : counts[pass] < microbatches) {
      ++counts[pass];
      kept.push_back(pass);
    }
  }
  kept.insert(kept.end(), at(counts.weights_waiting()), Pass::weight);
  return kept;
}

// Every pass in the first slot that its rank's order leaves it; none if they deadlock.
std::optional<Rows> squeeze(const Rows& rows, int microbatches) {
  const int ranks = static_cast<int>(rows.size());
  Progress progress(ranks, microbatches);
  Rows squeezed(rows.size());
  std::vector<std::size_t> next(rows.size(), 0);
  const auto run_rank = [&](int rank) {
    const Row& row = rows[at(rank)];
    std::size_t& position = next[at(rank)];
    const std::size_t before = position;
    for (; position < row.size(); ++position) {
      const Pass pass = row[position];
      if (pass == Pass::none) {
        continue;
      }
      const int ready = progress.ready(rank, pass);
      if (ready == Progress::unknown) {
        break;
      }
      Row& slots = squeezed[at(rank)];
      slots.resize(std::max(slots.size(), at(ready)), Pass::none);
      progress.run(rank, pass, static_cast<int>(slots.size()));
      slots.push_back(pass);
    }
    return position > before;
  };
  bool runs = true;
  while (runs) {
    runs = false;
    for (int rank = 0; rank < ranks; ++rank) {
      runs = run_rank(rank) || runs;
    }
  }
  for (int rank = 0; rank < ranks; ++rank) {
    if (next[at(rank)] < rows[at(rank)].size()) {
      return std::nullopt;
    }
  }
  return squeezed;
}

// Takes up to so many of the last passes of a kind away, and says how many.
int take_last(Row& row, Pass pass, int most) {
  int taken = 0;
  for (auto slot = row.rbegin(); slot != row.rend() && taken < most; ++slot) {
    if (*slot == pass) {
      *slot = Pass::none;
      ++taken;
    }
  }
  return taken;
}

// One pass in every second slot, the last one in the given slot. False if one of them is taken.
bool put_back(Row& row, Pass pass, int count, int last) {
  if (count > 0 && static_cast<int>(row.size()) <= last) {
    row.resize(at(last + 1), Pass::none);
  }
  for (int slot = last; count > 0; --count, slot -= 2) {
    if (slot < 0 || row[at(slot)] != Pass::none) {
      return false;
    }
    row[at(slot)] = pass;
  }
  return true;
}

// Takes weight halves away that now come before an input half of their own.
void take_early_weights(Row& row) {
  Counts counts;
  for (Pass& pass : row) {
    if (pass == Pass::weight && counts.weights_waiting() == 0) {
      pass = Pass::none;
    }
    ++counts[pass];
  }
}

// Waiting weight halves go into the idle slots after the last one that is left, and to the end.
void put_weights_back(Row& row) {
  const auto last = std::find(row.rbegin(), row.rend(), Pass::weight);
  Counts counts;
  for (auto slot = row.begin(); slot != row.end(); ++slot) {
    if (*slot == Pass::none && slot >= last.base() && counts.weights_waiting() > 0) {
      *slot = Pass::weight;
    }
    ++counts[*slot];
  }
  row.insert(row.end(), at(counts.weights_waiting()), Pass::weight);
}

// The last input halves anew, as many as the ranks can hold: when the last microbatch has come up
// for the first time it goes down and up again without a wait, and those before it come by two
// slots earlier each. Their weight halves go where there is room. False if there is none for them.
bool drain_pipeline(Rows& rows, int microbatches) {
  const int ranks = static_cast<int>(rows.size());
  const int peak = peak_of(rows);
  const int early_most = std::min((peak + 1) / 2, microbatches);
  const int late_most = std::min(peak - early_most, microbatches);
  const Row& first = rows.front();
  const auto forward = std::find(first.rbegin(), first.rend(), Pass::late_forward);
  const int begin = static_cast<int>(forward.base() - first.begin());
  for (int rank = 0; rank < ranks; ++rank) {
    Row& row = rows[at(rank)];
    const int late = take_last(row, Pass::late_input, std::min(rank + 1, late_most));
    const int early = take_last(row, Pass::early_input, early_most);
    take_last(row, Pass::weight, std::max(peak, late + early));
    if (!put_back(row, Pass::early_input, early, begin + 2 * ranks - 1 - rank) ||
        !put_back(row, Pass::late_input, late, begin + rank)) {
      return false;
    }
    take_early_weights(row);
    put_weights_back(row);
  }
  return true;
}

// Idle slots, in the order of time, take the first later pass of their rank that is ready, if
// nobody then holds more than the peak.
class GapFiller {
 public:
  GapFiller(Rows& rows, int microbatches)
      : rows_(rows),
        peak_(peak_of(rows)),
        progress_(static_cast<int>(rows.size()), microbatches),
        held_(rows.size(), 0) {}

  void run() {
    std::size_t length = 0;
    for (const Row& row : rows_) {
      length = std::max(length, row.size());
    }
    for (std::size_t slot = 0; slot < length; ++slot) {
      for (int rank = 0; rank < static_cast<int>(rows_.size()); ++rank) {
        Row& row = rows_[at(rank)];
        if (slot >= row.size()) {
          continue;
        }
        if (row[slot] == Pass::none) {
          fill_slot(row, rank, slot);
        }
        if (row[slot] != Pass::none) {
          progress_.run(rank, row[slot], static_cast<int>(slot));
          held_[at(rank)] += held_by(row[slot]);
        }
      }
    }
  }

 private:
  void fill_slot(Row& row, int rank, std::size_t slot) const {
    Counts seen;  // of each kind only the next one can move
    int kinds = 0;
    int held = held_[at(rank)];
    int most = held;  // up to where the pass is now: what it would add to from here on
    for (std::size_t from = slot + 1; from < row.size() && kinds < static_cast<int>(passes);
         ++from) {
      const Pass pass = row[from];
      if (pass == Pass::none) {
        continue;
      }
      const bool fits = held_by(pass) <= 0 || most < peak_;
      if (seen[pass]++ == 0) {
        ++kinds;
        const int ready = progress_.ready(rank, pass);
        if (fits && ready != Progress::unknown && ready <= static_cast<int>(slot)) {
          std::swap(row[slot], row[from]);
          return;
        }
      }
      held += held_by(pass);
      most = std::max(most, held);
    }
  }

  Rows& rows_;
  int peak_;
  Progress progress_;
  std::vector<int> held_;  // [rank]
};

Word word_of(const Row& row, int rank, int ranks) {
  const int early = rank;
  const int late = 2 * ranks - 1 - rank;
  Word word;
  std::vector<int> inputs;  // tracks of the input halves so far
  std::size_t weights = 0;
  for (const Pass pass : row) {
    switch (pass) {
      case Pass::early_forward:
      case Pass::late_forward:
        word.push_back({OpKind::forward, pass == Pass::early_forward ? early : late});
        break;
      case Pass::early_input:
      case Pass::late_input:
        inputs.push_back(pass == Pass::early_input ? early : late);
        word.push_back({OpKind::backward_input, inputs.back()});
        break;
      case Pass::weight:
        CHECK(weights < inputs.size());
        word.push_back({OpKind::backward_weight, inputs[weights++]});
        break;
      case Pass::none:
        break;
    }
  }
  return word;
}

}  // namespace

std::optional<Words> v_block_words(const Tracks& tracks, const PeriodicPlan& block) {
  const int ranks = tracks.ranks();
  const int microbatches = tracks.tracks.front().microbatches;
  const int repeated = std::max(microbatches, 2 * ranks);  // so that there is a steady state
  Rows rows;
  for (int rank = 0; rank < ranks; ++rank) {
    rows.push_back(repeat(block, rank, ranks, repeated));
  }
  const int peak = peak_of(rows);
  for (int rank = 0; rank < ranks; ++rank) {
    Row& row = rows[at(rank)];
    row = cut(fill_pipeline(row, rank, ranks, peak), microbatches);
  }
  std::optional<Rows> squeezed = squeeze(rows, microbatches);
  if (!squeezed || !drain_pipeline(*squeezed, microbatches)) {
    return std::nullopt;
  }
  squeezed = squeeze(*squeezed, microbatches);
  if (!squeezed || peak_of(*squeezed) > peak) {
    return std::nullopt;
  }
  GapFiller(*squeezed, microbatches).run();
  Words words;
  for (int rank = 0; rank < ranks; ++rank) {
    words.push_back(word_of((*squeezed)[at(rank)], rank, ranks));
  }
  return words;
}

}  // namespace dualpipe
