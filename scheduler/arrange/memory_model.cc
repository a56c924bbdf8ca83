#include "scheduler/arrange/memory_model.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "costs/cost_model.h"
#include "costs/error.h"
#include "scheduler/arrange/tracks.h"
#include "scheduler/generate.h"
#include "scheduler/memory.h"
#include "scheduler/pipeline.h"

namespace dualpipe {
namespace {

void hold(Tracks& tracks, std::int64_t activation, std::int64_t weight_operands) {
  for (Track& track : tracks.tracks) {
    track.activation = activation;
    track.weight_operands = weight_operands;
  }
}

std::vector<std::int64_t> resident_of_ranks(const Tracks& tracks, const CostModel& costs) {
  Placement placement{.ranks = tracks.ranks(), .rank_of_stage = {}};
  for (const Track& track : tracks.tracks) {
    if (track.stage == 0) {
      placement.rank_of_stage.emplace_back();
    }
    placement.rank_of_stage.back().push_back(track.rank);
  }
  std::vector<std::int64_t> resident;
  for (const MemoryUse& use :
       resident_memory(placement, stage_bytes_of(costs), MemoryPurpose::training)) {
    resident.push_back(use.total());
  }
  return resident;
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
    tracks.resident = resident_of_ranks(tracks, target.costs);
  }
  tracks.limit = target.memory->amount;
  const std::int64_t least = least_limit(tracks);
  if (tracks.limit < least) {
    throw Error(
        ExitCode::infeasible,
        fmt::format("{} needs at least {} per rank for this shape; the memory limit is {}", family,
                    to_string(MemoryLimit{least, target.memory->unit}), to_string(*target.memory)));
  }
}

}  // namespace dualpipe
