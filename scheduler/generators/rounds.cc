#include "scheduler/generators/rounds.h"

#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

#include "costs/check.h"
#include "scheduler/generate.h"
#include "scheduler/op.h"
#include "scheduler/schedule.h"

namespace dualpipe {

std::vector<int> even_rounds(const Shape& shape) {
  const int count = std::max(1, shape.microbatches / shape.ranks);
  std::vector<int> rounds;
  for (int round = 0; round < count; ++round) {
    const int larger = round < shape.microbatches % count ? 1 : 0;
    rounds.push_back(shape.microbatches / count + larger);
  }
  return rounds;
}

std::vector<Op> in_rounds(OpKind kind, int rank, const Shape& shape, std::span<const int> rounds) {
  std::vector<Op> ops;
  ops.reserve(static_cast<std::size_t>(shape.chunks) *
              static_cast<std::size_t>(shape.microbatches));
  int first = 0;
  for (const int size : rounds) {
    for (int visit = 0; visit < shape.chunks; ++visit) {
      const int chunk = kind == OpKind::forward ? visit : shape.chunks - 1 - visit;
      for (int microbatch = first; microbatch < first + size; ++microbatch) {
        ops.push_back({chunk * shape.ranks + rank, kind, microbatch});
      }
    }
    first += size;
  }
  CHECK(first == shape.microbatches);
  return ops;
}

std::vector<Slot> alternate(std::span<const Op> forwards, std::span<const Op> backwards,
                            const Alternation& alternation) {
  CHECK(forwards.size() == backwards.size());
  const std::size_t count = forwards.size();
  const std::size_t warmup = std::min(static_cast<std::size_t>(alternation.warmup), count);
  const std::size_t held = static_cast<std::size_t>(alternation.held_weights);
  const bool split = backwards.front().kind == OpKind::backward_input;
  std::vector<Slot> slots(forwards.begin(), forwards.begin() + static_cast<std::ptrdiff_t>(warmup));
  slots.reserve((split ? 3 : 2) * count);
  std::size_t weights = 0;
  const auto run_weight_half = [&] {
    const Op& half = backwards[weights++];
    slots.emplace_back(Op{half.stage, OpKind::backward_weight, half.microbatch});
  };
  for (std::size_t backward = 0; backward < count; ++backward) {
    if (backward + warmup < count) {
      slots.emplace_back(forwards[backward + warmup]);
    }
    slots.emplace_back(backwards[backward]);
    if (split && backward + 1 - weights > held) {
      run_weight_half();
    }
  }
  while (split && weights < count) {
    run_weight_half();
  }
  return slots;
}

}  // namespace dualpipe
