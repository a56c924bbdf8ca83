// A pipeline as the cost-aware generators see it. Microbatches are identical, so a schedule is one
// word per rank over the letters "next forward of track i", "next input half of track i", "next
// weight half of track i": the microbatch follows from counting. Within a track, running every kind
// in microbatch order costs nothing: exchanging two ops of a kind changes no start time.

#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "costs/cost_model.h"
#include "scheduler/op.h"
#include "scheduler/pipeline.h"
#include "scheduler/schedule.h"

namespace dualpipe {

// One stage of one direction.
struct Track {
  static constexpr int none = -1;

  int stage = 0;
  int rank = 0;
  int previous = none;  // track of the stage before, in the same direction
  int next = none;
  int first_microbatch = 0;
  int microbatches = 0;
  Time forward{};
  Time backward_input{};
  Time backward_weight{};
  Time from_previous{};         // transfer of an activation from `previous`; none on the same rank
  Time from_next{};             // of an input gradient from `next`
  std::int64_t activation = 0;  // what a forward takes, in the unit of Tracks::limit
  std::int64_t weight_operands = 0;  // what is left of it after the input half
};

struct Tracks {
  static constexpr std::int64_t unlimited = std::numeric_limits<std::int64_t>::max() / 4;

  std::vector<Track> tracks;              // direction after direction, by stage
  std::vector<std::vector<int>> of_rank;  // [rank]: its tracks, by direction and stage
  std::int64_t limit = unlimited;         // most that a rank may hold
  // Of it, what a rank holds from the begin to the end, in the same unit: parameters and buffers.
  // [rank], or empty.
  std::vector<std::int64_t> resident;

  [[nodiscard]] std::int64_t resident_of(int rank) const {
    return resident.empty() ? 0 : resident[static_cast<std::size_t>(rank)];
  }
  [[nodiscard]] int ranks() const { return static_cast<int>(of_rank.size()); }
  [[nodiscard]] const Track& operator[](int track) const {
    return tracks[static_cast<std::size_t>(track)];
  }
  // Letters of a complete word, over all ranks.
  [[nodiscard]] std::int64_t letters() const;
};

// Activations count 1 each until their weight half is done, and nothing limits them.
// Requires: costs.stages has one entry per stage of the placement.
[[nodiscard]] Tracks tracks_of(const Placement& placement, int microbatches,
                               const CostModel& costs);

// The least limit under which a schedule exists: of the rank that needs most, what one microbatch
// takes that goes through all its stages and back before another begins.
[[nodiscard]] std::int64_t least_limit(const Tracks& tracks);

struct Letter {
  OpKind kind = OpKind::forward;  // forward, backward_input or backward_weight
  int track = 0;

  bool operator==(const Letter&) const = default;
};

// The three kinds of letters as an index: 0 forward, 1 input half, 2 weight half.
[[nodiscard]] constexpr std::size_t letter_index(OpKind kind) {
  return kind == OpKind::forward ? 0 : kind == OpKind::backward_input ? 1 : 2;
}

using Word = std::vector<Letter>;
using Words = std::vector<Word>;  // [rank]

[[nodiscard]] RankOrders orders_of(const Tracks& tracks, const Words& words);

// A whole backward becomes its two halves, a pair its three ops.
[[nodiscard]] Words words_of(const Tracks& tracks, const RankOrders& orders);

}  // namespace dualpipe
