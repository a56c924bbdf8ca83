#include "scheduler/arrange/tracks.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "costs/check.h"
#include "costs/cost_model.h"
#include "scheduler/op.h"
#include "scheduler/pipeline.h"
#include "scheduler/schedule.h"

namespace dualpipe {
namespace {

std::size_t at(int index) {
  return static_cast<std::size_t>(index);
}

// How far a track's ops of each kind have come.
struct Counts {
  std::array<int, 3> of_kind{};

  int& operator[](OpKind kind) { return of_kind[letter_index(kind)]; }
};

}  // namespace

std::int64_t Tracks::letters() const {
  std::int64_t letters = 0;
  for (const Track& track : tracks) {
    letters += 3 * std::int64_t{track.microbatches};
  }
  return letters;
}

Tracks tracks_of(const Placement& placement, int microbatches, const CostModel& costs) {
  const int stages = placement.stages();
  CHECK(costs.stages.size() == at(stages));
  const std::vector<int> directions =
      directions_of_microbatches(microbatches, placement.directions());
  Tracks all;
  all.of_rank.resize(at(placement.ranks));
  for (int direction = 0; direction < placement.directions(); ++direction) {
    const std::vector<int>& rank_of = placement.rank_of_stage[at(direction)];
    const auto [first, last] = std::ranges::equal_range(directions, direction);
    for (int stage = 0; stage < stages; ++stage) {
      const StageCosts& cost = costs.stages[at(stage)];
      const int index = static_cast<int>(all.tracks.size());
      const auto hop = [&](int other) {
        const int source = rank_of[at(other)];
        const int destination = rank_of[at(stage)];
        return source == destination ? Time{} : costs.transfer(source, destination);
      };
      all.tracks.push_back({.stage = stage,
                            .rank = rank_of[at(stage)],
                            .previous = stage > 0 ? index - 1 : Track::none,
                            .next = stage + 1 < stages ? index + 1 : Track::none,
                            .first_microbatch = static_cast<int>(first - directions.begin()),
                            .microbatches = static_cast<int>(last - first),
                            .forward = cost.forward,
                            .backward_input = cost.backward_input,
                            .backward_weight = cost.backward_weight,
                            .from_previous = stage > 0 ? hop(stage - 1) : Time{},
                            .from_next = stage + 1 < stages ? hop(stage + 1) : Time{},
                            .activation = 1,
                            .weight_operands = 1});
      all.of_rank[at(rank_of[at(stage)])].push_back(index);
    }
  }
  return all;
}

std::int64_t least_limit(const Tracks& tracks) {
  std::int64_t least = 0;
  for (int rank = 0; rank < tracks.ranks(); ++rank) {
    const std::int64_t resident = tracks.resident_of(rank);
    std::int64_t alive = resident;  // with the stages before the one that is looked at
    int direction_begins = 0;
    for (const int index : tracks.of_rank[at(rank)]) {
      const Track& track = tracks[index];
      if (track.microbatches == 0) {
        continue;
      }
      if (track.first_microbatch != direction_begins) {
        alive = resident;  // One direction's microbatch may be done before the other's begins.
        direction_begins = track.first_microbatch;
      }
      least = std::max(least, alive + std::max(track.activation, track.weight_operands));
      alive += track.activation;
    }
  }
  return least;
}

RankOrders orders_of(const Tracks& tracks, const Words& words) {
  std::vector<Counts> done(tracks.tracks.size());
  RankOrders orders;
  for (const Word& word : words) {
    std::vector<Slot>& slots = orders.emplace_back();
    slots.reserve(word.size());
    for (const Letter& letter : word) {
      const Track& track = tracks[letter.track];
      const int microbatch = track.first_microbatch + done[at(letter.track)][letter.kind]++;
      slots.emplace_back(Op{track.stage, letter.kind, microbatch});
    }
  }
  return orders;
}

Words words_of(const Tracks& tracks, const RankOrders& orders) {
  const auto track_of = [&](int rank, const Op& op) {
    for (const int index : tracks.of_rank[at(rank)]) {
      const Track& track = tracks[index];
      if (track.stage == op.stage && op.microbatch >= track.first_microbatch &&
          op.microbatch < track.first_microbatch + track.microbatches) {
        return index;
      }
    }
    CHECK(false);  // The order is not one of these tracks.
    return Track::none;
  };
  Words words;
  for (const std::vector<Slot>& slots : orders) {
    Word& word = words.emplace_back();
    const int rank = static_cast<int>(words.size()) - 1;
    for (const Slot& slot : slots) {
      for (const Op& op : slot) {
        const int track = track_of(rank, op);
        if (op.kind == OpKind::backward) {
          word.push_back({OpKind::backward_input, track});
          word.push_back({OpKind::backward_weight, track});
        } else {
          word.push_back({op.kind, track});
        }
      }
    }
  }
  return words;
}

}  // namespace dualpipe
