// The steady state of long words: on every rank, a prologue, one core again and again, an epilogue.
// Whoever improves the core improves it for every microbatch at once; and with more copies of the
// core, words for few microbatches become words for many that hold no more.

#pragma once

#include <optional>
#include <vector>

#include "scheduler/arrange/tracks.h"

namespace dualpipe {

// Of a rank's word, `copies` times the same `length` letters from `begin` on.
struct Core {
  int begin = 0;
  int length = 0;
  int copies = 0;
};

struct Cores {
  int microbatches = 0;       // that one copy brings forward
  std::vector<Core> of_rank;  // each with the same number of copies
};

// The number of microbatches in a copy divides this.
constexpr int core_microbatches_multiple = 24;

// The shortest core that every rank has at least twice and that brings forward half of the
// microbatches, in as many copies as all ranks have.
// Requires: tracks of one direction.
[[nodiscard]] std::optional<Cores> find_cores(const Tracks& tracks, const Words& words);

// With `microbatches` more. Requires: a multiple of cores.microbatches.
[[nodiscard]] Words extend(const Words& words, const Cores& cores, int microbatches);

}  // namespace dualpipe
