#include "scheduler/program_builder.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "costs/check.h"
#include "scheduler/communication.h"
#include "scheduler/compile.h"
#include "scheduler/op.h"
#include "scheduler/pipeline.h"
#include "scheduler/program.h"
#include "scheduler/schedule.h"
#include "scheduler/violations.h"

namespace dualpipe {
namespace {

using Kind = Instruction::Kind;

constexpr std::int32_t local = -1;  // instead of a channel: the value stays on its rank

std::size_t at(int index) {
  return static_cast<std::size_t>(index);
}

Violation out_of_order(const Channel& lane, std::int32_t sequence, const Value& sent,
                       const Value& received) {
  return {
      .kind = Violation::Kind::message,
      .rank = lane.destination,
      .slot = -1,
      .message = fmt::format("message {} from rank {} to rank {} would be swapped: rank {} sends "
                             "{}, but rank {} takes it for {}",
                             sequence, lane.source, lane.destination, lane.source, to_string(sent),
                             lane.destination, to_string(received))};
}

}  // namespace

ProgramBuilder::ProgramBuilder(Schedule schedule, const TransportSemantics& semantics) {
  program_.schedule_ = std::move(schedule);
  program_.semantics_ = semantics;
  program_.receive_buffers_ = semantics.receives_ahead + 1;
  program_.send_buffers_ = std::max(1, semantics.send_slots);
  find_channels();
}

std::vector<Channel> ProgramBuilder::channels_of_boundaries() const {
  const Placement& placement = program_.pipeline().placement;
  std::vector<Channel> channels;
  for (const std::vector<int>& rank_of : placement.rank_of_stage) {
    for (std::size_t stage = 0; stage + 1 < rank_of.size(); ++stage) {
      if (rank_of[stage] != rank_of[stage + 1]) {
        channels.push_back({rank_of[stage], rank_of[stage + 1], ValueKind::activation});
        channels.push_back({rank_of[stage + 1], rank_of[stage], ValueKind::input_gradient});
      }
    }
  }
  std::sort(channels.begin(), channels.end());
  channels.erase(std::unique(channels.begin(), channels.end()), channels.end());
  return channels;
}

void ProgramBuilder::find_channels() {
  const Pipeline& pipeline = program_.pipeline();
  program_.channels_ = channels_of_boundaries();
  ends_.resize(program_.channels_.size());
  std::vector<std::int32_t> microbatches(at(pipeline.placement.directions()), 0);
  for (const int direction : pipeline.direction) {
    ++microbatches[at(direction)];
  }
  const auto channel_between = [&](int source, int destination, ValueKind kind) {
    const auto found = std::lower_bound(program_.channels_.begin(), program_.channels_.end(),
                                        Channel{source, destination, kind});
    return static_cast<std::int32_t>(found - program_.channels_.begin());
  };
  for (std::size_t direction = 0; direction < microbatches.size(); ++direction) {
    const std::vector<int>& rank_of = pipeline.placement.rank_of_stage[direction];
    std::vector<std::int32_t>& down = down_.emplace_back(rank_of.size(), local);
    std::vector<std::int32_t>& up = up_.emplace_back(rank_of.size(), local);
    for (std::size_t stage = 0; stage + 1 < rank_of.size(); ++stage) {
      const int here = rank_of[stage];
      const int next = rank_of[stage + 1];
      if (here != next) {
        down[stage] = channel_between(here, next, ValueKind::activation);
        up[stage + 1] = channel_between(next, here, ValueKind::input_gradient);
        ends_[at(down[stage])].count += microbatches[direction];
        ends_[at(up[stage + 1])].count += microbatches[direction];
      }
    }
  }
  std::int32_t messages = 0;
  for (Ends& ends : ends_) {
    ends.first = messages;
    messages += ends.count;
  }
  CHECK(messages <= Instruction::index_max);
  program_.messages_.resize(at(messages));
  received_.resize(at(messages));
}

std::int32_t ProgramBuilder::channel_of(const Value& value) const {
  const int direction = program_.pipeline().direction[at(value.microbatch)];
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

Program ProgramBuilder::build(const CommunicationOrder& communication, Violations& violations) {
  for (int rank = 0; rank < program_.pipeline().ranks(); ++rank) {
    if (communication.empty()) {
      write_rank(rank);
    } else {
      write_given(rank, communication[at(rank)], violations);
    }
  }
  if (!communication.empty()) {
    check_all_communicated(violations);
  }
  if (violations.empty()) {
    check_channels(violations);
  }
  if (program_.semantics_.topology != Topology::channel && violations.empty()) {
    check_shared_lanes(violations);
  }
  return std::move(program_);
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
      const std::int32_t channel = own ? local : channel_of(value);
      if (channel != local) {
        Ends& ends = ends_[at(channel)];
        const std::int32_t message = ends.first + ends.received++;
        received_[at(message)] = value;
        incoming_.push_back(message);
      }
    }
    for (const Value& value : writes(op)) {
      const std::int32_t channel = channel_of(value);
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

// --- a given order of communication ---

void ProgramBuilder::write_given(int rank, const std::vector<CommunicationStep>& steps,
                                 Violations& violations) {
  out_ = &program_.instructions_.emplace_back();
  std::int32_t slot = 0;
  for (const CommunicationStep& step : steps) {
    switch (step.kind) {
      case CommunicationStep::Kind::run:
        run_given(rank, slot++, violations);
        break;
      case CommunicationStep::Kind::send:
      case CommunicationStep::Kind::receive:
        communicate(rank, step, violations);
        break;
      case CommunicationStep::Kind::commit:
        write_group();
        break;
    }
  }
  CHECK(at(slot) == program_.slots(rank).size());
  if (!group_.empty()) {
    violations.add({.kind = Violation::Kind::message,
                    .rank = rank,
                    .slot = -1,
                    .message = fmt::format("rank {} never lets its last group go", rank)});
    group_.clear();
  }
}

void ProgramBuilder::communicate(int rank, const CommunicationStep& step, Violations& violations) {
  const int stages = program_.pipeline().stages();
  if (step.value.stage < 0 || step.value.stage >= stages ||
      receiving_stage(step.value, stages) < 0 || channel_of(step.value) == local) {
    return;  // The end of the pipeline, or a turn that stays on its rank.
  }
  const bool sends = step.kind == CommunicationStep::Kind::send;
  const auto complain = [&](const char* why) {
    violations.add({.kind = Violation::Kind::message,
                    .rank = rank,
                    .slot = -1,
                    .message = fmt::format("rank {} {} {} {}", rank, sends ? "sends" : "receives",
                                           to_string(step.value), why)});
  };
  const std::int32_t channel = channel_of(step.value);
  Ends& ends = ends_[at(channel)];
  if (rank != (sends ? program_.channels_[at(channel)].source
                     : program_.channels_[at(channel)].destination)) {
    complain("in another rank's place");
  } else if (sends && ends.sent == ends.written) {
    complain("before it is written, or twice");
  } else if (sends && program_.messages_[at(ends.first + ends.sent)].value != step.value) {
    complain("in another order than it was written");  // which is that of the buffers
  } else if (!sends && ends.received == ends.count) {
    complain("when all has been received");
  } else if (sends) {
    group_.push_back({Kind::send, ends.first + ends.sent++});
  } else {
    const std::int32_t message = ends.first + ends.received++;
    received_[at(message)] = step.value;
    group_.push_back({Kind::receive, message});
    program_.receive_buffers_ =
        std::max(program_.receive_buffers_, static_cast<int>(ends.received - ends.consumed));
  }
}

void ProgramBuilder::run_given(int rank, std::int32_t slot, Violations& violations) {
  const auto complain = [&](const char* what, const Value& value) {
    violations.add({.kind = Violation::Kind::message,
                    .rank = rank,
                    .slot = slot,
                    .message = fmt::format("{} {} {}", to_string(program_.slots(rank)[at(slot)]),
                                           what, to_string(value))});
  };
  const auto waits = [&](Kind kind, std::int32_t message) {  // Is it in a group not yet let go?
    return std::any_of(group_.begin(), group_.end(), [&](const Instruction& posted) {
      return posted.kind == kind && posted.index == message;
    });
  };
  for (const Op& op : program_.slots(rank)[at(slot)]) {
    for (const Value& value : reads(op, program_.pipeline().stages())) {
      const std::int32_t channel = value.stage == op.stage ? local : channel_of(value);
      if (channel == local) {
        continue;
      }
      Ends& ends = ends_[at(channel)];
      const std::int32_t message = ends.first + ends.consumed++;
      if (ends.consumed > ends.received || received_[at(message)] != value ||
          waits(Kind::receive, message)) {
        complain("runs before the receive of", value);
      }
    }
    for (const Value& value : writes(op)) {
      if (const std::int32_t channel = channel_of(value); channel != local) {
        Ends& ends = ends_[at(channel)];
        program_.messages_[at(ends.first + ends.written)] = {
            .value = value, .channel = channel, .sequence = ends.written};
        ++ends.written;
        const auto held = std::count_if(group_.begin(), group_.end(), [&](const auto& posted) {
          return posted.kind == Kind::send && posted.index >= ends.first &&
                 posted.index < ends.first + ends.count;
        });
        program_.send_buffers_ =
            std::max(program_.send_buffers_, static_cast<int>(ends.written - ends.sent + held));
      }
    }
  }
  emit(Kind::run, slot);
}

void ProgramBuilder::write_group() {
  if (group_.empty()) {
    return;
  }
  for (const Instruction& operation : group_) {
    emit(operation.kind, operation.index);
  }
  emit(Kind::end_group, 0);
  for (const Instruction& operation : group_) {
    emit(operation.kind == Kind::send ? Kind::await_sent : Kind::await_received, operation.index);
  }
  group_.clear();
}

void ProgramBuilder::check_all_communicated(Violations& violations) const {
  for (std::size_t channel = 0; channel < ends_.size(); ++channel) {
    const Ends& ends = ends_[channel];
    if (ends.sent != ends.count || ends.received != ends.count) {
      const Channel& lane = program_.channels_[channel];
      violations.add(
          {.kind = Violation::Kind::message,
           .rank = lane.source,
           .slot = -1,
           .message = fmt::format("{}: {} messages are needed, {} are sent and {} "
                                  "received",
                                  to_string(lane), ends.count, ends.sent, ends.received)});
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
        violations.add(out_of_order(program_.channel_of(message), k, message.value, received));
        break;  // The rest of the channel is only a consequence.
      }
    }
  }
}

// Where channels share a communicator, all messages from one rank to another there form one lane
// without tags: its k-th send meets its k-th receive, be they activations or gradients.
void ProgramBuilder::check_shared_lanes(Violations& violations) const {
  struct Lane {
    std::vector<std::int32_t> sent;
    std::vector<std::int32_t> received;
  };
  std::map<std::pair<int, int>, Lane> lanes;  // by source and destination
  for (const std::vector<Instruction>& instructions : program_.instructions_) {
    for (const Instruction& instruction : instructions) {
      if (instruction.kind == Kind::send || instruction.kind == Kind::receive) {
        const Channel& channel = program_.channel_of(program_.message(instruction.index));
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
                                  static_cast<std::int32_t>(sent - lane.sent.begin()),
                                  program_.message(*sent).value,
                                  program_.message(*received).value));
    }
  }
}

}  // namespace dualpipe
