// What the looped families share: the order in which a rank visits its chunks, and the way in which
// 1F1B and its kin weave forwards and backwards together.

#pragma once

#include <span>
#include <vector>

#include "scheduler/generate.h"
#include "scheduler/op.h"
#include "scheduler/schedule.h"

namespace dualpipe {

// M / P rounds, at least one, of sizes that differ by at most one, larger ones first: with P or
// more microbatches in each, a rank that turns to its next chunk finds the first of them ready.
[[nodiscard]] std::vector<int> even_rounds(const Shape& shape);

// The forwards or the backwards of a rank of the looped placement. A round runs its microbatches
// through one chunk before it turns to the next; backwards visit the chunks in reverse.
// Requires: the rounds' sizes sum up to the microbatches.
[[nodiscard]] std::vector<Op> in_rounds(OpKind kind, int rank, const Shape& shape,
                                        std::span<const int> rounds);

struct Alternation {
  int warmup = 0;        // forwards before the first backward
  int held_weights = 0;  // of split backwards: weight halves that stay behind the input halves
};

// `warmup` forwards, then one forward and one backward in turn, then the backwards that are left.
// Behind a backward_input comes the oldest weight half due, once more than held_weights are; those
// still held come last.
// Requires: as many forwards as backwards.
[[nodiscard]] std::vector<Slot> alternate(std::span<const Op> forwards,
                                          std::span<const Op> backwards,
                                          const Alternation& alternation);

}  // namespace dualpipe
