#include "scheduler/arrange/memory_model.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include <fmt/format.h>

#include "costs/cost_model.h"
#include "costs/error.h"
#include "scheduler/arrange/tracks.h"
#include "scheduler/generate.h"
#include "scheduler/memory.h"

namespace dualpipe {
namespace {

void hold(Tracks& tracks, std::int64_t activation, std::int64_t weight_operands) {
  for (Track& track : tracks.tracks) {
    track.activation = activation;
    track.weight_operands = weight_operands;
  }
}

// What the rank with most of it keeps all the time. Tracks have one limit for all ranks, so the
// others are left some room that they do not need.
std::int64_t most_resident(const Tracks& tracks, const CostModel& costs) {
  Placement placement{.ranks = tracks.ranks(), .rank_of_stage = {}};
  for (const Track& track : tracks.tracks) {
    if (track.stage == 0) {
      placement.rank_of_stage.emplace_back();
    }
    placement.rank_of_stage.back().push_back(track.rank);
  }
  const std::vector<StageBytes> bytes = stage_bytes_of(costs);
  std::int64_t most = 0;
  for (int rank = 0; rank < placement.ranks; ++rank) {
    most = std::max(most, resident_memory(placement, rank, bytes).total());
  }
  return most;
}

}  // namespace

void set_memory_model(Tracks& tracks, const Target& target, const OwnLimit& own,
                      std::string_view family) {
  if (!target.memory) {
    const std::int64_t whole = own.halved_by_input ? 2 : 1;
    hold(tracks, whole, 1);
    tracks.limit = std::max(whole * own.activations, least_limit(tracks));
    return;
  }
  if (target.memory->unit == MemoryLimit::Unit::activations) {
    hold(tracks, 1, 1);
  } else {
    for (Track& track : tracks.tracks) {
      const StageCosts& stage = target.costs.stages[static_cast<std::size_t>(track.stage)];
      track.activation = stage.bytes.activation + stage.bytes.logits;
      track.weight_operands = stage.bytes.weight_operands;
    }
  }
  const std::int64_t resident =
      target.memory->unit == MemoryLimit::Unit::bytes ? most_resident(tracks, target.costs) : 0;
  tracks.limit = target.memory->amount - resident;
  const std::int64_t least = least_limit(tracks);
  if (tracks.limit < least) {
    throw Error(ExitCode::infeasible,
                fmt::format("{} needs at least {} per rank for this shape; the memory limit is {}",
                            family, to_string(MemoryLimit{least + resident, target.memory->unit}),
                            to_string(*target.memory)));
  }
}

}  // namespace dualpipe
