#include "scheduler/pipeline.h"

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

#include "costs/check.h"

namespace dualpipe {

std::vector<int> Placement::stages_of(int rank, int direction) const {
  const std::vector<int>& ranks_of = rank_of_stage[static_cast<std::size_t>(direction)];
  std::vector<int> held;
  for (std::size_t stage = 0; stage < ranks_of.size(); ++stage) {
    if (ranks_of[stage] == rank) {
      held.push_back(static_cast<int>(stage));
    }
  }
  return held;
}

int Placement::chunks() const {
  std::size_t most = 0;
  for (int direction = 0; direction < directions(); ++direction) {
    std::vector<std::size_t> held(static_cast<std::size_t>(ranks), 0);
    for (const int rank : rank_of_stage[static_cast<std::size_t>(direction)]) {
      most = std::max(most, ++held[static_cast<std::size_t>(rank)]);
    }
  }
  return static_cast<int>(most);
}

double Placement::parameter_shares() const {
  std::size_t most = 0;
  for (int rank = 0; rank < ranks; ++rank) {
    std::size_t held = 0;
    for (int direction = 0; direction < directions(); ++direction) {
      held += stages_of(rank, direction).size();
    }
    most = std::max(most, held);
  }
  return shares(static_cast<double>(most));
}

Placement linear_placement(int ranks) {
  return looped_placement(ranks, 1);
}

Placement looped_placement(int ranks, int chunks) {
  CHECK(ranks > 0 && chunks > 0);
  std::vector<int> rank_of;
  for (int stage = 0; stage < ranks * chunks; ++stage) {
    rank_of.push_back(stage % ranks);
  }
  return {.ranks = ranks, .rank_of_stage = {std::move(rank_of)}};
}

Placement zigzag_placement(int ranks, int chunks) {
  CHECK(ranks > 0 && chunks > 0);
  std::vector<int> rank_of;
  for (int stage = 0; stage < ranks * chunks; ++stage) {
    const int along = stage % ranks;
    rank_of.push_back(stage / ranks % 2 == 0 ? along : ranks - 1 - along);
  }
  return {.ranks = ranks, .rank_of_stage = {std::move(rank_of)}};
}

Placement v_placement(int ranks) {
  return zigzag_placement(ranks, 2);
}

Placement both_ways(Placement one_way) {
  CHECK(one_way.directions() == 1);
  std::vector<int> mirrored = one_way.rank_of_stage.front();
  for (int& rank : mirrored) {
    rank = one_way.ranks - 1 - rank;
  }
  one_way.rank_of_stage.push_back(std::move(mirrored));
  return one_way;
}

Placement bidirectional_placement(int ranks) {
  return both_ways(linear_placement(ranks));
}

std::vector<int> directions_of_microbatches(int microbatches, int directions) {
  CHECK(microbatches > 0 && (directions == 1 || directions == 2));
  std::vector<int> direction(static_cast<std::size_t>(microbatches), 0);
  if (directions == 2) {
    std::fill(direction.begin() + microbatches / 2, direction.end(), 1);
  }
  return direction;
}

}  // namespace dualpipe
