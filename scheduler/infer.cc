#include "scheduler/infer.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "costs/error.h"
#include "scheduler/op.h"
#include "scheduler/pipeline.h"
#include "scheduler/schedule.h"

namespace dualpipe {
namespace {

constexpr int unknown = -1;

using Path = std::vector<int>;  // [stage]: rank, or unknown

struct Extent {
  std::int64_t stages = 0;
  std::int64_t microbatches = 0;
  std::int64_t ops = 0;
};

template <typename Visit>
void for_each_op(const std::vector<std::vector<Slot>>& ranks, const Visit& visit) {
  for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
    for (const Slot& slot : ranks[rank]) {
      for (const Op& op : slot) {
        visit(static_cast<int>(rank), op);
      }
    }
  }
}

// Guards against numbers that no file of this size can mean, so that memory stays in proportion.
Extent checked_extent(const std::vector<std::vector<Slot>>& ranks, const std::string& origin) {
  Extent extent;
  for_each_op(ranks, [&](int, const Op& op) {
    extent.stages = std::max<std::int64_t>(extent.stages, std::int64_t{op.stage} + 1);
    extent.microbatches =
        std::max<std::int64_t>(extent.microbatches, std::int64_t{op.microbatch} + 1);
    ++extent.ops;
  });
  if (extent.ops == 0) {
    throw Error(ExitCode::invalid_schedule, origin + ": expected a schedule, found no ops");
  }
  constexpr std::int64_t always_affordable = 1'000'000;
  if (extent.stages > extent.ops || extent.microbatches > extent.ops ||
      extent.stages * extent.microbatches > std::max(extent.ops, always_affordable)) {
    throw Error(ExitCode::invalid_schedule,
                fmt::format("{}: the ops name {} stages and {} microbatches, but there are only {} "
                            "ops; expected every stage and microbatch to have a forward and a "
                            "backward",
                            origin, extent.stages, extent.microbatches, extent.ops));
  }
  return extent;
}

bool compatible(const Path& left, const Path& right) {
  return std::equal(left.begin(), left.end(), right.begin(), [](int one, int other) {
    return one == other || one == unknown || other == unknown;
  });
}

void merge(Path& into, const Path& from) {
  for (std::size_t stage = 0; stage < into.size(); ++stage) {
    into[stage] = into[stage] == unknown ? from[stage] : into[stage];
  }
}

// Where each microbatch's ops are; of contradicting places the first.
std::vector<Path> paths_of_microbatches(const std::vector<std::vector<Slot>>& ranks,
                                        const Extent& extent) {
  std::vector<Path> paths(static_cast<std::size_t>(extent.microbatches),
                          Path(static_cast<std::size_t>(extent.stages), unknown));
  for_each_op(ranks, [&](int rank, const Op& op) {
    int& place = paths[static_cast<std::size_t>(op.microbatch)][static_cast<std::size_t>(op.stage)];
    place = place == unknown ? rank : place;
  });
  return paths;
}

// Each stage on the rank that has most of its ops.
Path majority_path(const std::vector<std::vector<Slot>>& ranks, std::int64_t stages) {
  std::vector<std::map<int, int>> votes(static_cast<std::size_t>(stages));
  for_each_op(ranks,
              [&](int rank, const Op& op) { ++votes[static_cast<std::size_t>(op.stage)][rank]; });
  Path path;
  for (const std::map<int, int>& ranks_of : votes) {
    const auto most = std::max_element(
        ranks_of.begin(), ranks_of.end(),
        [](const auto& one, const auto& other) { return one.second < other.second; });
    path.push_back(most == ranks_of.end() ? unknown : most->first);
  }
  return path;
}

}  // namespace

std::string name_from_origin(const std::string& origin) {
  const std::string file = origin.substr(origin.find_last_of('/') + 1);
  const std::string stem = file.substr(0, file.find_last_of('.'));
  const bool plain = std::all_of(stem.begin(), stem.end(),
                                 [](char letter) { return letter >= ' ' && letter <= '~'; });
  return stem.empty() || !plain ? "schedule" : stem;
}

Pipeline infer_pipeline(const std::vector<std::vector<Slot>>& ranks, const std::string& origin) {
  const Extent extent = checked_extent(ranks, origin);
  constexpr std::size_t directions_max = 2;
  std::vector<Path> directions;
  std::vector<int> direction_of;
  for (const Path& path : paths_of_microbatches(ranks, extent)) {
    const auto match = std::find_if(directions.begin(), directions.end(),
                                    [&](const Path& known) { return compatible(known, path); });
    direction_of.push_back(static_cast<int>(match - directions.begin()));
    if (match != directions.end()) {
      merge(*match, path);
    } else {
      directions.push_back(path);
      if (directions.size() > directions_max) {
        break;
      }
    }
  }
  if (directions.size() > directions_max) {
    directions = {majority_path(ranks, extent.stages)};
    direction_of.assign(static_cast<std::size_t>(extent.microbatches), 0);
  }
  for (const Path& path : directions) {
    const auto hole = std::find(path.begin(), path.end(), unknown);
    if (hole != path.end()) {
      throw Error(ExitCode::invalid_schedule,
                  fmt::format("{}: no op shows which rank runs stage {}; expected every stage from "
                              "0 to {} to have ops, or a form that says the placement (JSON)",
                              origin, hole - path.begin(), extent.stages - 1));
    }
  }
  return {.name = name_from_origin(origin),
          .placement = {.ranks = static_cast<int>(ranks.size()),
                        .rank_of_stage = std::move(directions)},
          .direction = std::move(direction_of)};
}

}  // namespace dualpipe
