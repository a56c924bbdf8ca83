// RankMemory: all memory of one rank's step outside its stages, in one piece of its device: the
// buffers of its channels, what one of its stages hands to the next, and what replicas exchange.
// How many buffers a channel has is the Program's word; a step allocates nothing.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "runtime/device.h"
#include "runtime/held_stage.h"
#include "runtime/message_buffer.h"
#include "runtime/rank_plan.h"
#include "scheduler/program.h"

namespace dualpipe {

class RankMemory {
 public:
  // `stages` are those of `rank`, as plan.stages. All must outlive this object, and the device too.
  RankMemory(const Program& program, int rank, const RankPlan& plan,
             std::span<const HeldStage> stages, Device& device);

  // Requires: the rank is an end of the message.
  [[nodiscard]] MessageBuffer buffer_of(const Message& message) const;
  [[nodiscard]] std::size_t payload_bytes(const Message& message) const;
  [[nodiscard]] std::span<std::byte> at(const Place& place) const;

  // For exchanging that many floats with a replica's other holder. Requires: no more than any stage
  // with a replica elsewhere has parameters.
  struct ReplicaBuffers {
    MessageBuffer sent;
    MessageBuffer received;
  };
  [[nodiscard]] ReplicaBuffers replica_buffers(std::size_t floats) const;

  [[nodiscard]] std::size_t bytes() const { return arena_.bytes(); }

 private:
  // The buffers of one channel at this rank: message k uses buffer k modulo their number.
  struct ChannelBuffers {
    std::size_t first = 0;  // index in the arena
    int count = 0;          // 0 where this rank is no end of the channel
  };

  void reserve_channels(int rank);
  void reserve_local_buffers(const RankPlan& plan);
  void reserve_replica_buffers(int rank);
  [[nodiscard]] std::size_t payload_bytes(const Value& value) const;

  const Program& program_;
  std::span<const HeldStage> stages_;
  MessageArena arena_;
  std::vector<ChannelBuffers> channels_;  // [channel]
  std::vector<std::size_t> local_;        // [local buffer]: index in the arena
  std::size_t replica_sent_ = 0;          // indices in the arena
  std::size_t replica_received_ = 0;
};

// The rank that holds the stage for the other direction; the stage's own where there is none other.
[[nodiscard]] int replica_peer(const Placement& placement, const HeldStage& stage);

}  // namespace dualpipe
