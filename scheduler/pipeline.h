// What is being pipelined, whatever the order: which rank runs a stage for a direction (Placement),
// and the name, microbatches and directions that a Schedule, a Program and a Timeline of one run
// all share (Pipeline).

#pragma once

#include <span>
#include <string>
#include <vector>

namespace dualpipe {

// Which rank runs a stage, for each direction. One direction is the common case (linear, looped, V,
// wave); with two, the same stage lives on two ranks, so its parameters are replicated.
// Invariant: every row is as long as the first, and every rank is in [0, ranks).
struct Placement {
  int ranks = 0;
  std::vector<std::vector<int>> rank_of_stage;  // [direction][stage]

  [[nodiscard]] int directions() const { return static_cast<int>(rank_of_stage.size()); }
  [[nodiscard]] int stages() const { return static_cast<int>(rank_of_stage.front().size()); }

  // Stages that `rank` holds for `direction`, ascending.
  [[nodiscard]] std::vector<int> stages_of(int rank, int direction) const;

  // The most stages a rank holds for one direction (what Megatron calls virtual stages).
  [[nodiscard]] int chunks() const;

  // What `stages_held` stages are of the model, in shares of 1/ranks: at 1, a rank holds no more
  // than if the model were divided evenly without copies.
  [[nodiscard]] double shares(double stages_held) const { return stages_held * ranks / stages(); }

  // Parameters of the rank that holds most, in such shares: 2 where each stage has a replica.
  [[nodiscard]] double parameter_shares() const;

  bool operator==(const Placement&) const = default;
};

// Stage s on rank s.
[[nodiscard]] Placement linear_placement(int ranks);
// Stage s on rank s mod ranks: chunk k of rank r is stage k*ranks + r.
[[nodiscard]] Placement looped_placement(int ranks, int chunks);
// Chunk after chunk of `ranks` stages, down the ranks and back up in turn: chunk k of rank r is
// stage k*ranks + r where k is even, k*ranks + ranks-1-r where it is odd. Every turn stays on its
// rank.
[[nodiscard]] Placement zigzag_placement(int ranks, int chunks);
// The zigzag of two chunks: rank r holds stages r and 2*ranks-1-r.
[[nodiscard]] Placement v_placement(int ranks);
// `one_way` for direction 0, and its mirror image for direction 1: what rank r holds for one is
// what rank ranks-1-r holds for the other. Requires: one_way has one direction.
[[nodiscard]] Placement both_ways(Placement one_way);
// Direction 0: stage s on rank s. Direction 1: stage s on rank ranks-1-s.
[[nodiscard]] Placement bidirectional_placement(int ranks);

struct Pipeline {
  std::string name;  // of the schedule, for people
  Placement placement;
  std::vector<int> direction;  // of each microbatch

  [[nodiscard]] int ranks() const { return placement.ranks; }
  [[nodiscard]] int stages() const { return placement.stages(); }
  [[nodiscard]] int microbatches() const { return static_cast<int>(direction.size()); }
  [[nodiscard]] int rank_of(int stage, int microbatch) const {
    const int way = direction[static_cast<std::size_t>(microbatch)];
    return placement.rank_of_stage[static_cast<std::size_t>(way)][static_cast<std::size_t>(stage)];
  }

  bool operator==(const Pipeline&) const = default;
};

// Microbatches are numbered over both directions: of two, the first half goes direction 0.
// Requires: 0 < directions <= 2.
[[nodiscard]] std::vector<int> directions_of_microbatches(int microbatches, int directions);

}  // namespace dualpipe
