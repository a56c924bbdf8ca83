#include "scheduler/generators/prune.h"

#include <optional>
#include <vector>

#include "costs/check.h"
#include "scheduler/op.h"
#include "scheduler/schedule.h"

namespace dualpipe {

RankOrders prune(const RankOrders& ranks, const MicrobatchCounts& microbatches, int directions) {
  CHECK(0 < microbatches.to && microbatches.to <= microbatches.from);
  CHECK(directions == 1 || directions == 2);
  // Direction 0 holds the microbatches below a half, rounded down; one direction holds all.
  const int split_from = directions == 1 ? microbatches.from : microbatches.from / 2;
  const int split_to = directions == 1 ? microbatches.to : microbatches.to / 2;
  const auto kept = [&](const Op& op) -> std::optional<Op> {
    const bool first = op.microbatch < split_from;
    const int microbatch = first ? op.microbatch : op.microbatch - split_from + split_to;
    if (microbatch >= (first ? split_to : microbatches.to)) {
      return std::nullopt;
    }
    return Op{op.stage, op.kind, microbatch};
  };
  RankOrders pruned;
  for (const std::vector<Slot>& slots : ranks) {
    std::vector<Slot>& left = pruned.emplace_back();
    for (const Slot& slot : slots) {
      const std::optional<Op> front = kept(slot.front());
      const std::optional<Op> back = slot.is_pair() ? kept(slot.back()) : std::nullopt;
      if (front && back) {
        left.push_back(Slot::pair(*front, *back));
      } else if (front || back) {
        left.emplace_back(front ? *front : *back);
      }
    }
  }
  return pruned;
}

}  // namespace dualpipe
