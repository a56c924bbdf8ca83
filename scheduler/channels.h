// Which channels a schedule has, and which one a value takes. Not installed: a Program has both.

#pragma once

#include <cstdint>
#include <vector>

#include "scheduler/op.h"
#include "scheduler/program.h"
#include "scheduler/schedule.h"

namespace dualpipe {

class ChannelMap {
 public:
  static constexpr std::int32_t local = -1;  // instead of a channel: the value stays on its rank

  // Requires: `schedule` has passed validate(), and outlives this.
  explicit ChannelMap(const Schedule& schedule);

  [[nodiscard]] const std::vector<Channel>& channels() const { return channels_; }  // sorted
  // Of every channel: how many messages it has, all of which are of this schedule.
  [[nodiscard]] const std::vector<std::int32_t>& counts() const { return counts_; }
  [[nodiscard]] std::int32_t of(const Value& value) const;

 private:
  void find_channels(bool backward);

  const Pipeline& pipeline_;
  std::vector<Channel> channels_;
  std::vector<std::int32_t> counts_;
  std::vector<std::vector<std::int32_t>> down_;  // [direction][stage]: channel of its activations
  std::vector<std::vector<std::int32_t>> up_;    // [direction][stage]: of its input gradients
};

}  // namespace dualpipe
