#include "scheduler/generate.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "costs/check.h"
#include "costs/cost_model.h"
#include "costs/error.h"
#include "scheduler/generators/families.h"
#include "scheduler/memory.h"
#include "scheduler/pipeline.h"
#include "scheduler/schedule.h"

namespace dualpipe {
namespace {

constexpr std::int64_t ops_max = 100'000'000;

bool positive(const Shape& shape) {
  return shape.ranks > 0 && shape.microbatches > 0 && shape.chunks > 0;
}

// Requires: a positive shape. Counts four ops, F to W, for each stage and microbatch.
bool too_large(const Shape& shape) {
  return std::int64_t{shape.ranks} * shape.chunks > ops_max / 4 / shape.microbatches;
}

// The supported shape nearest to the one asked for: people would rather change the number of
// microbatches than that of chunks, and least of all that of ranks.
std::optional<Shape> nearest_supported(const Family& family, const Shape& asked) {
  std::optional<Shape> nearest;
  int nearest_distance = std::numeric_limits<int>::max();
  constexpr int square_max = 5000;  // with more ranks, as many microbatches are too large
  const int reach = 2 * std::min(asked.ranks, square_max) + 4;
  for (int ranks = std::max(1, asked.ranks - 2); ranks <= asked.ranks + 2; ++ranks) {
    for (int chunks = std::max(1, asked.chunks - 1); chunks <= asked.chunks + 1; ++chunks) {
      for (int change = -reach; change <= reach; ++change) {
        const int distance = std::abs(change) + reach * std::abs(chunks - asked.chunks) +
                             4 * reach * std::abs(ranks - asked.ranks);
        const Shape shape{
            .ranks = ranks, .microbatches = asked.microbatches + change, .chunks = chunks};
        if (positive(shape) && !too_large(shape) && distance <= nearest_distance &&
            family.supports(shape)) {
          nearest = shape;
          nearest_distance = distance;
        }
      }
    }
  }
  return nearest;
}

std::string cost_aware_names() {
  std::vector<std::string_view> names;
  for (const Family* family : families()) {
    if (family->cost_aware()) {
      names.push_back(family->name);
    }
  }
  return fmt::format("{}", fmt::join(names, ", "));
}

}  // namespace

std::span<const Family* const> families() {
  static constexpr std::array table{
      &one_f_one_b_family,
      &one_f_one_b_v_family,
      &bitpipe_family,
      &chimera_family,
      &chimera_doubling_family,
      &dualpipe_family,
      &dualpipev_family,
      &gems_family,
      &gis_family,
      &gis_h_family,
      &gpipe_family,
      &hanayo_family,
      &interleaved_family,
      &interleaved_zb_family,
      &looped_bfs_family,
      &v_half_family,
      &v_min_family,
      &zb_1p_family,
      &zb_2p_family,
      &zb_h1_family,
      &zb_h2_family,
      &zb_v_family,
  };
  return table;
}

const Family& find_family(std::string_view name) {
  std::vector<std::string_view> names;
  for (const Family* family : families()) {
    if (family->name == name) {
      return *family;
    }
    names.push_back(family->name);
  }
  throw Error(ExitCode::usage,
              fmt::format("no schedule is called '{}'{}; the schedules are {}, and a file's name "
                          "needs a '.' or '/' in it",
                          name, did_you_mean(name, names), fmt::join(names, ", ")));
}

void require_supported(const Family& family, const Shape& shape) {
  if (!positive(shape)) {
    throw Error(ExitCode::usage,
                fmt::format("{}: ranks, microbatches and chunks must be at least 1; found {}, {} "
                            "and {}",
                            family.name, shape.ranks, shape.microbatches, shape.chunks));
  }
  if (too_large(shape)) {
    throw Error(ExitCode::usage,
                fmt::format("{}: {} ranks x {} chunks x {} microbatches is too large; at most {} "
                            "ops are supported",
                            family.name, shape.ranks, shape.chunks, shape.microbatches, ops_max));
  }
  if (!family.supports(shape)) {
    std::string remedy;
    if (const std::optional<Shape> nearest = nearest_supported(family, shape)) {
      remedy = fmt::format("; the nearest shape that works: ranks = {}, microbatches = {}",
                           nearest->ranks, nearest->microbatches);
      if (nearest->chunks != shape.chunks) {
        remedy += fmt::format(", chunks = {}", nearest->chunks);
      }
    }
    throw Error(ExitCode::usage,
                fmt::format("{} requires {}; found ranks = {}, microbatches = {}, chunks = {}{}",
                            family.name, family.requirement, shape.ranks, shape.microbatches,
                            shape.chunks, remedy));
  }
}

Schedule generate(const Family& family, const Shape& shape, const Target& target) {
  require_supported(family, shape);
  const Placement placement = family.placement(shape);
  CHECK(target.costs.stages.size() == static_cast<std::size_t>(placement.stages()));
  require_step_fits(target.costs, shape.microbatches);
  Schedule schedule{
      .pipeline = {.name = std::string(family.name),
                   .placement = placement,
                   .direction =
                       directions_of_microbatches(shape.microbatches, placement.directions())},
      .ranks = family.cost_aware() ? family.arrange(shape, target) : family.order(shape)};
  if (target.memory) {
    const std::vector<StageBytes> bytes = stage_bytes_of(target.costs);
    if (const std::optional<MemoryExcess> excess = find_excess(schedule, bytes, *target.memory)) {
      throw Error(
          ExitCode::infeasible,
          fmt::format("{} keeps {} alive on rank {}, but the memory limit is {}; raise it, "
                      "or choose a schedule that keeps less ({})",
                      family.name, to_string(MemoryLimit{excess->peak, target.memory->unit}),
                      excess->rank, to_string(*target.memory), cost_aware_names()));
    }
  }
  return schedule;
}

Schedule generate(const Family& family, const Shape& shape) {
  require_supported(family, shape);
  constexpr Time each = std::chrono::milliseconds(1);
  const StageCosts stage{
      .forward = each, .backward_input = each, .backward_weight = each, .overlapped = 3 * each};
  const std::size_t stages = static_cast<std::size_t>(family.placement(shape).stages());
  return generate(family, shape,
                  {.costs = {.stages = std::vector<StageCosts>(stages, stage), .p2p = {}},
                   .memory = std::nullopt});
}

}  // namespace dualpipe
