#include "scheduler/program_builder.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "costs/check.h"
#include "scheduler/channels.h"
#include "scheduler/communication.h"
#include "scheduler/compile.h"
#include "scheduler/given_order.h"
#include "scheduler/op.h"
#include "scheduler/pipeline.h"
#include "scheduler/program.h"
#include "scheduler/schedule.h"
#include "scheduler/violations.h"

namespace dualpipe {
namespace {

using Kind = Instruction::Kind;

constexpr std::int32_t local = ChannelMap::local;

std::size_t at(int index) {
  return static_cast<std::size_t>(index);
}

// The slot of a rank that reads the value from another rank; -1 if there is none.
int slot_reading(const Value& value, std::span<const Slot> slots, int stages) {
  const int stage = receiving_stage(value, stages);
  const auto reader = std::find_if(slots.begin(), slots.end(), [&](const Slot& slot) {
    return std::any_of(slot.begin(), slot.end(), [&](const Op& op) {
      const bool is_forward = op.kind == OpKind::forward;
      return op.stage == stage && op.microbatch == value.microbatch &&
             op.kind != OpKind::backward_weight &&
             is_forward == (value.kind == ValueKind::activation);
    });
  });
  return reader == slots.end() ? -1 : static_cast<int>(reader - slots.begin());
}

struct Swap {
  std::int32_t sequence = 0;  // in the lane
  Value sent;
  Value received;
};

Violation out_of_order(const Channel& lane, const Swap& swap, const Program& program) {
  const Schedule& schedule = program.schedule();
  return {.kind = Violation::Kind::message,
          .rank = lane.destination,
          .slot = slot_reading(swap.received, program.slots(lane.destination),
                               schedule.pipeline.stages()),
          .message = fmt::format(
              "message {} from rank {} to rank {} would be swapped: rank {} sends "
              "{}, but rank {} takes it for {}",
              swap.sequence, lane.source, lane.destination, lane.source,
              name_of(swap.sent, schedule), lane.destination, name_of(swap.received, schedule))};
}

}  // namespace

ProgramBuilder::ProgramBuilder(Schedule schedule, const TransportSemantics& semantics)
    : program_(start(std::move(schedule), semantics)), channels_(program_.schedule_) {
  program_.channels_ = channels_.channels();
  number_messages();
}

Program ProgramBuilder::start(Schedule schedule, const TransportSemantics& semantics) {
  Program program;
  program.schedule_ = std::move(schedule);
  program.semantics_ = semantics;
  program.receive_buffers_ = semantics.receives_ahead + 1;
  return program;
}

void ProgramBuilder::number_messages() {
  std::int32_t messages = 0;
  int longest = 1;
  for (const std::int32_t count : channels_.counts()) {
    ends_.push_back({.first = messages, .count = count});
    messages += count;
    longest = std::max(longest, static_cast<int>(count));
  }
  CHECK(messages <= Instruction::index_max);
  program_.send_buffers_ = program_.semantics_.send_slots == unlimited
                               ? longest
                               : std::max(1, program_.semantics_.send_slots);
}

Program ProgramBuilder::build(const CommunicationOrder& communication, Violations& violations) {
  if (!communication.empty()) {
    take(communication, violations);
  } else {
    const std::int32_t messages = ends_.empty() ? 0 : ends_.back().first + ends_.back().count;
    program_.messages_.resize(at(messages));
    received_.resize(at(messages));
    for (int rank = 0; rank < program_.pipeline().ranks(); ++rank) {
      write_rank(rank);
    }
  }
  if (violations.empty()) {
    check_channels(violations);
  }
  return std::move(program_);
}

void ProgramBuilder::take(const CommunicationOrder& communication, Violations& violations) {
  GivenOrder::Parts parts = GivenOrder(program_.schedule_, channels_, program_.semantics_)
                                .write(communication, violations);
  program_.messages_ = std::move(parts.messages);
  program_.instructions_ = std::move(parts.instructions);
  program_.receive_buffers_ = parts.receive_buffers;
  program_.send_buffers_ = parts.send_buffers;
  received_ = std::move(parts.received);
}

void ProgramBuilder::write_rank(int rank) {
  const TransportSemantics& semantics = program_.semantics_;
  const std::vector<Slot>& slots = program_.schedule_.ranks[at(rank)];
  out_ = &program_.instructions_.emplace_back();
  out_->reserve(5 * slots.size());
  if (semantics.receives_ahead > 0) {
    for (std::size_t channel = 0; channel < ends_.size(); ++channel) {
      const Ends& ends = ends_[channel];
      if (program_.channels_[channel].destination == rank) {
        for (int k = 0; k < std::min(ends.count, semantics.receives_ahead + 1); ++k) {
          emit(Kind::receive, ends.first + k);
        }
      }
    }
  }
  for (std::size_t slot = 0; slot < slots.size(); ++slot) {
    find_messages(slots[slot]);
    if (semantics.grouped) {
      write_grouped_slot(static_cast<std::int32_t>(slot));
    } else {
      write_slot(static_cast<std::int32_t>(slot));
    }
  }
  write_end(rank);
}

// Fills incoming_ and outgoing_ with what the slot reads from and writes to other ranks.
void ProgramBuilder::find_messages(const Slot& slot) {
  const int stages = program_.pipeline().stages();
  incoming_.clear();
  outgoing_.clear();
  for (const Op& op : slot) {
    for (const Value& value : reads(op, stages)) {
      // A stage's own activation is read by its own backward: that copy never travels.
      const bool own = value.stage == op.stage;
      const std::int32_t channel = own ? local : channels_.of(value);
      if (channel != local) {
        Ends& ends = ends_[at(channel)];
        const std::int32_t message = ends.first + ends.received++;
        received_[at(message)] = value;
        incoming_.push_back(message);
      }
    }
    for (const Value& value : writes(op)) {
      const std::int32_t channel = channels_.of(value);
      if (channel != local) {
        Ends& ends = ends_[at(channel)];
        const std::int32_t message = ends.first + ends.sent;
        program_.messages_[at(message)] = {
            .value = value, .channel = channel, .sequence = ends.sent++};
        outgoing_.push_back(message);
      }
    }
  }
}

void ProgramBuilder::write_slot(std::int32_t slot) {
  const TransportSemantics& semantics = program_.semantics_;
  for (const std::int32_t message : incoming_) {
    if (semantics.receives_ahead == 0) {
      emit(Kind::receive, message);
    }
  }
  for (const std::int32_t message : incoming_) {
    emit(Kind::await_received, message);
  }
  for (const std::int32_t message : outgoing_) {
    if (semantics.send_slots > 0 &&
        program_.messages_[at(message)].sequence >= semantics.send_slots) {
      emit(Kind::await_sent, message - semantics.send_slots);
    }
  }
  emit(Kind::run, slot);
  for (const std::int32_t message : outgoing_) {
    emit(Kind::send, message);
    if (semantics.send_slots == 0) {
      emit(Kind::await_sent, message);
    }
  }
  if (semantics.receives_ahead > 0) {
    for (const std::int32_t message : incoming_) {  // The buffer is free: post its next receive.
      const std::int32_t next = message + semantics.receives_ahead + 1;
      const auto of_next =
          std::upper_bound(ends_.begin(), ends_.end(), message,
                           [](std::int32_t index, const Ends& ends) { return index < ends.first; });
      const Ends& ends = *(of_next - 1);
      if (next < ends.first + ends.count) {
        emit(Kind::receive, next);
      }
    }
  }
}

void ProgramBuilder::write_grouped_slot(std::int32_t slot) {
  if (!unsent_.empty() || !incoming_.empty()) {
    for (const std::int32_t message : unsent_) {
      emit(Kind::send, message);
    }
    for (const std::int32_t message : incoming_) {
      emit(Kind::receive, message);
    }
    emit(Kind::end_group, 0);
    for (const std::int32_t message : unsent_) {
      emit(Kind::await_sent, message);
    }
    for (const std::int32_t message : incoming_) {
      emit(Kind::await_received, message);
    }
  }
  unsent_ = outgoing_;
  emit(Kind::run, slot);
}

// Every send is waited for before the rank is done.
void ProgramBuilder::write_end(int rank) {
  const TransportSemantics& semantics = program_.semantics_;
  if (semantics.grouped) {
    for (const std::int32_t message : unsent_) {
      emit(Kind::send, message);
    }
    if (!unsent_.empty()) {
      emit(Kind::end_group, 0);
    }
    for (const std::int32_t message : unsent_) {
      emit(Kind::await_sent, message);
    }
    unsent_.clear();
    return;
  }
  for (std::size_t channel = 0; channel < ends_.size(); ++channel) {
    const Ends& ends = ends_[channel];
    if (program_.channels_[channel].source == rank) {
      for (int k = std::max(0, ends.sent - semantics.send_slots); k < ends.sent; ++k) {
        emit(Kind::await_sent, ends.first + k);
      }
    }
  }
}

// --- what both ends must agree on ---

void ProgramBuilder::check_channels(Violations& violations) const {
  for (const Ends& ends : ends_) {
    for (std::int32_t k = 0; k < ends.count; ++k) {
      const Message& message = program_.messages_[at(ends.first + k)];
      const Value& received = received_[at(ends.first + k)];
      if (message.value != received) {
        violations.add(
            out_of_order(program_.channel_of(message), {k, message.value, received}, program_));
        break;  // The rest of the channel is only a consequence.
      }
    }
  }
}

void check_shared_lanes(const Program& program, Violations& violations) {
  if (program.semantics().topology == Topology::channel) {
    return;
  }
  struct Lane {
    std::vector<std::int32_t> sent;
    std::vector<std::int32_t> received;
  };
  std::map<std::pair<int, int>, Lane> lanes;  // by source and destination
  for (int rank = 0; rank < program.pipeline().ranks(); ++rank) {
    for (const Instruction& instruction : program.instructions(rank)) {
      if (instruction.kind == Kind::send || instruction.kind == Kind::receive) {
        const Channel& channel = program.channel_of(program.message(instruction.index));
        Lane& lane = lanes[{channel.source, channel.destination}];
        (instruction.kind == Kind::send ? lane.sent : lane.received).push_back(instruction.index);
      }
    }
  }
  for (const auto& [ranks, lane] : lanes) {
    const auto [sent, received] =
        std::mismatch(lane.sent.begin(), lane.sent.end(), lane.received.begin());
    if (sent != lane.sent.end()) {
      violations.add(out_of_order({ranks.first, ranks.second, ValueKind::activation},
                                  {.sequence = static_cast<std::int32_t>(sent - lane.sent.begin()),
                                   .sent = program.message(*sent).value,
                                   .received = program.message(*received).value},
                                  program));
    }
  }
}

}  // namespace dualpipe
