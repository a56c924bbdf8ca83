// Program: what engines run. It is the schedule plus its communication made explicit: channels,
// messages, and for every rank one list of instructions. Only compile() makes one, and only from a
// schedule that is complete, ordered, matched and free of deadlock on the transport it is compiled
// for: to hold a Program is the proof, and engines never check again. The simulator and the runtime
// read the same list.

#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "scheduler/op.h"
#include "scheduler/pipeline.h"
#include "scheduler/schedule.h"

namespace dualpipe {

// Which messages share a communicator. A communicator has no tags: it runs the operations of one
// rank one after another, in the order in which that rank issued them (as NCCL's do).
enum class Topology : std::uint8_t {
  channel,    // one per (source, destination, activation or gradient)
  edge,       // one per (source, destination)
  pair,       // one per two ranks, both ways
  direction,  // two: messages to a higher rank, and messages to a lower one
  world,      // one for everything
};

// What compile() must know of the transport.
struct TransportSemantics {
  Topology topology = Topology::channel;
  // true: sends wait until the next slot, and go out with the receives that this slot needs as one
  // group, of which the operations run together and which the slot waits for (DualPipe's reference
  // implementation). false: every operation on its own.
  bool grouped = false;
  // How many receives of a channel are posted beside the next one to be needed, so that a sender
  // finds a buffer before its receiver asks. 0: a receive is posted when the slot that needs it is
  // reached, as it must be where channels share a communicator. Grouped requires 0.
  int receives_ahead = 1;
  // How many sends of a channel may be under way: a slot waits until its send buffer is free.
  // 0: every send is waited for as soon as it is issued (blocking calls). Grouped requires 1.
  int send_slots = 1;
  // How many messages a lane (see play.h) holds that have been sent but not received: so many sends
  // are done without their receives. 0: rendezvous, which is the strictest. What real transports do
  // below their eager threshold.
  int buffering = 0;

  bool operator==(const TransportSemantics&) const = default;
};

// Of TransportSemantics::send_slots and buffering: as many as there are messages.
inline constexpr int unlimited = std::numeric_limits<int>::max();

// The reference implementations' ways to communicate, for comparison.
inline constexpr TransportSemantics grouped_world{
    .topology = Topology::world, .grouped = true, .receives_ahead = 0, .send_slots = 1};
inline constexpr TransportSemantics blocking_world{
    .topology = Topology::world, .grouped = false, .receives_ahead = 0, .send_slots = 0};

// An ordered lane of messages of one kind between two ranks: receive k takes what send k gave.
struct Channel {
  int source = 0;
  int destination = 0;
  ValueKind kind = ValueKind::activation;  // or input_gradient

  auto operator<=>(const Channel&) const = default;
};

// Which communicator channel `index` of a program uses, as a pair that is equal for channels that
// share one.
[[nodiscard]] std::pair<int, int> communicator_of(const Channel& channel, std::int32_t index,
                                                  Topology topology);

struct Message {
  Value value;
  std::int32_t channel = 0;   // index into Program::channels()
  std::int32_t sequence = 0;  // position in the channel, from 0
};

// "channel", "edge", ..: the words of the command line.
[[nodiscard]] std::string_view to_string(Topology topology);

// "activation 1->2" or "gradient 2->1".
[[nodiscard]] std::string to_string(const Channel& channel);

// One word, because a large program has tens of millions of them.
struct Instruction {
  enum class Kind : std::uint32_t {
    receive,         // message: post its receive
    await_received,  // message: continue when it has arrived
    run,             // slot: compute
    send,            // message: post its send
    await_sent,      // message: continue when its send buffer is free again
    end_group,       // what was posted since the last one goes out together (grouped only)
  };
  static constexpr std::int32_t index_max = (1 << 28) - 1;

  // Requires: 0 <= of_index <= index_max.
  Instruction(Kind of_kind, std::int32_t of_index) : kind(of_kind), index(of_index & index_max) {}

  Kind kind : 3;
  std::int32_t index : 29;  // of the message in Program::messages(), or of the slot on its rank
};

class Program {
 public:
  [[nodiscard]] const Schedule& schedule() const { return schedule_; }
  [[nodiscard]] const Pipeline& pipeline() const { return schedule_.pipeline; }
  [[nodiscard]] const TransportSemantics& semantics() const { return semantics_; }

  [[nodiscard]] std::span<const Channel> channels() const { return channels_; }  // sorted
  // Channel after channel, each in order of sequence.
  [[nodiscard]] std::span<const Message> messages() const { return messages_; }
  [[nodiscard]] const Message& message(std::int32_t index) const {
    return messages_[static_cast<std::size_t>(index)];
  }
  [[nodiscard]] const Channel& channel_of(const Message& message) const {
    return channels_[static_cast<std::size_t>(message.channel)];
  }
  [[nodiscard]] std::span<const Instruction> instructions(int rank) const {
    return instructions_[static_cast<std::size_t>(rank)];
  }
  [[nodiscard]] std::span<const Slot> slots(int rank) const {
    return schedule_.ranks[static_cast<std::size_t>(rank)];
  }

  // Buffers a channel needs at its two ends; message k uses buffer k modulo their number.
  [[nodiscard]] int receive_buffers() const { return receive_buffers_; }
  [[nodiscard]] int send_buffers() const { return send_buffers_; }

 private:
  friend class ProgramBuilder;
  Program() = default;

  Schedule schedule_;
  TransportSemantics semantics_;
  std::vector<Channel> channels_;
  std::vector<Message> messages_;
  std::vector<std::vector<Instruction>> instructions_;  // [rank]
  int receive_buffers_ = 1;
  int send_buffers_ = 1;
};

}  // namespace dualpipe
