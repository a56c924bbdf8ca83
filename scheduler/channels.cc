#include "scheduler/channels.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "scheduler/op.h"
#include "scheduler/pipeline.h"
#include "scheduler/program.h"
#include "scheduler/schedule.h"

namespace dualpipe {
namespace {

std::size_t at(std::int32_t index) {
  return static_cast<std::size_t>(index);
}

}  // namespace

// Inference hands no gradients back.
ChannelMap::ChannelMap(const Schedule& schedule) : pipeline_(schedule.pipeline) {
  const bool backward = !is_forward_only(schedule);
  find_channels(backward);
  counts_.resize(channels_.size(), 0);
  std::vector<std::int32_t> microbatches(at(pipeline_.placement.directions()), 0);
  for (const int direction : pipeline_.direction) {
    ++microbatches[at(direction)];
  }
  const auto channel_between = [&](int source, int destination, ValueKind kind) {
    const auto found =
        std::lower_bound(channels_.begin(), channels_.end(), Channel{source, destination, kind});
    return static_cast<std::int32_t>(found - channels_.begin());
  };
  for (std::size_t direction = 0; direction < microbatches.size(); ++direction) {
    const std::vector<int>& rank_of = pipeline_.placement.rank_of_stage[direction];
    std::vector<std::int32_t>& down = down_.emplace_back(rank_of.size(), local);
    std::vector<std::int32_t>& up = up_.emplace_back(rank_of.size(), local);
    for (std::size_t stage = 0; stage + 1 < rank_of.size(); ++stage) {
      const int here = rank_of[stage];
      const int next = rank_of[stage + 1];
      if (here == next) {
        continue;
      }
      down[stage] = channel_between(here, next, ValueKind::activation);
      counts_[at(down[stage])] += microbatches[direction];
      if (backward) {
        up[stage + 1] = channel_between(next, here, ValueKind::input_gradient);
        counts_[at(up[stage + 1])] += microbatches[direction];
      }
    }
  }
}

void ChannelMap::find_channels(bool backward) {
  for (const std::vector<int>& rank_of : pipeline_.placement.rank_of_stage) {
    for (std::size_t stage = 0; stage + 1 < rank_of.size(); ++stage) {
      if (rank_of[stage] != rank_of[stage + 1]) {
        channels_.push_back({rank_of[stage], rank_of[stage + 1], ValueKind::activation});
        if (backward) {
          channels_.push_back({rank_of[stage + 1], rank_of[stage], ValueKind::input_gradient});
        }
      }
    }
  }
  std::sort(channels_.begin(), channels_.end());
  channels_.erase(std::unique(channels_.begin(), channels_.end()), channels_.end());
}

std::int32_t ChannelMap::of(const Value& value) const {
  const int direction = pipeline_.direction[at(value.microbatch)];
  switch (value.kind) {
    case ValueKind::activation:
      return down_[at(direction)][at(value.stage)];
    case ValueKind::input_gradient:
      return up_[at(direction)][at(value.stage)];
    case ValueKind::weight_operands:
      return local;
  }
  return local;
}

}  // namespace dualpipe
