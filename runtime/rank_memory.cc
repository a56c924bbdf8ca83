#include "runtime/rank_memory.h"

#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

#include "costs/check.h"
#include "runtime/device.h"
#include "runtime/held_stage.h"
#include "runtime/message_buffer.h"
#include "runtime/rank_plan.h"
#include "runtime/stage.h"
#include "scheduler/op.h"
#include "scheduler/pipeline.h"
#include "scheduler/program.h"

namespace dualpipe {
namespace {

std::size_t at(int index) {
  return static_cast<std::size_t>(index);
}

// The beginning of a buffer that is large enough for several uses.
MessageBuffer part(const MessageBuffer& buffer, std::size_t payload_bytes) {
  return MessageBuffer(buffer.message().first(MessageBuffer::header_bytes + payload_bytes));
}

}  // namespace

RankMemory::RankMemory(const Program& program, int rank, const RankPlan& plan,
                       std::span<const HeldStage> stages, Device& device)
    : program_(program), stages_(stages) {
  reserve_channels(rank);
  reserve_local_buffers(plan);
  reserve_replica_buffers(rank);
  arena_.seal(device);
}

// A boundary is known from either side of it.
std::size_t RankMemory::payload_bytes(const Value& value) const {
  const int below = value.kind == ValueKind::activation ? value.stage : value.stage - 1;
  if (const Stage* const stage = find_stage(stages_, below)) {
    return stage->output_bytes();
  }
  const Stage* const stage = find_stage(stages_, below + 1);
  CHECK(stage != nullptr);
  return stage->input_bytes();
}

std::size_t RankMemory::payload_bytes(const Message& message) const {
  return payload_bytes(message.value);
}

void RankMemory::reserve_channels(int rank) {
  channels_.resize(program_.channels().size());
  std::vector<std::size_t> payload_max(channels_.size(), 0);
  for (const Message& message : program_.messages()) {
    const Channel& channel = program_.channel_of(message);
    if (channel.source == rank || channel.destination == rank) {
      std::size_t& largest = payload_max[dualpipe::at(message.channel)];
      largest = std::max(largest, payload_bytes(message));
    }
  }
  for (std::size_t index = 0; index < channels_.size(); ++index) {
    const Channel& channel = program_.channels()[index];
    if (channel.source != rank && channel.destination != rank) {
      continue;
    }
    const int count = channel.source == rank ? program_.send_buffers() : program_.receive_buffers();
    for (int buffer = 0; buffer < count; ++buffer) {
      const std::size_t reserved = arena_.reserve(payload_max[index]);
      if (buffer == 0) {
        channels_[index] = {.first = reserved, .count = count};
      }
    }
  }
}

void RankMemory::reserve_local_buffers(const RankPlan& plan) {
  for (const RankPlan::LocalBuffer& buffer : plan.local_buffers) {
    const Stage& writer = *stages_[dualpipe::at(buffer.writer)].object;
    local_.push_back(arena_.reserve(buffer.kind == ValueKind::activation ? writer.output_bytes()
                                                                         : writer.input_bytes()));
  }
}

void RankMemory::reserve_replica_buffers(int rank) {
  std::size_t parameters = 0;
  for (const HeldStage& held : stages_) {
    if (replica_peer(program_.pipeline().placement, held) != rank) {
      parameters = std::max(parameters, held.object->parameter_count());
    }
  }
  replica_sent_ = arena_.reserve(parameters * sizeof(float));
  replica_received_ = arena_.reserve(parameters * sizeof(float));
}

MessageBuffer RankMemory::buffer_of(const Message& message) const {
  const ChannelBuffers& channel = channels_[dualpipe::at(message.channel)];
  CHECK(channel.count > 0);
  return part(arena_.at(channel.first + dualpipe::at(message.sequence % channel.count)),
              payload_bytes(message));
}

std::span<std::byte> RankMemory::at(const Place& place) const {
  switch (place.kind) {
    case Place::Kind::nowhere:
      return {};
    case Place::Kind::message:
      return buffer_of(program_.message(place.index)).payload();
    case Place::Kind::local:
      return arena_.at(local_[dualpipe::at(place.index)]).payload();
  }
  return {};
}

RankMemory::ReplicaBuffers RankMemory::replica_buffers(std::size_t floats) const {
  return {.sent = part(arena_.at(replica_sent_), floats * sizeof(float)),
          .received = part(arena_.at(replica_received_), floats * sizeof(float))};
}

int replica_peer(const Placement& placement, const HeldStage& stage) {
  const int other = placement.directions() - 1 - stage.direction;
  return placement.rank_of_stage[at(other)][at(stage.stage)];
}

}  // namespace dualpipe
