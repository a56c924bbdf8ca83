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

Placement v_placement(int ranks) {
  CHECK(ranks > 0);
  std::vector<int> rank_of;
  for (int stage = 0; stage < 2 * ranks; ++stage) {
    rank_of.push_back(std::min(stage, 2 * ranks - 1 - stage));
  }
  return {.ranks = ranks, .rank_of_stage = {std::move(rank_of)}};
}

Placement bidirectional_placement(int ranks) {
  Placement placement = linear_placement(ranks);
  std::vector<int> reversed = placement.rank_of_stage.front();
  std::reverse(reversed.begin(), reversed.end());
  placement.rank_of_stage.push_back(std::move(reversed));
  return placement;
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
