#include "scheduler/given_order.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "costs/check.h"
#include "scheduler/channels.h"
#include "scheduler/communication.h"
#include "scheduler/compile.h"
#include "scheduler/op.h"
#include "scheduler/program.h"
#include "scheduler/schedule.h"
#include "scheduler/violations.h"

namespace dualpipe {
namespace {

using Kind = Instruction::Kind;

std::size_t at(std::int32_t index) {
  return static_cast<std::size_t>(index);
}

}  // namespace

GivenOrder::GivenOrder(const Schedule& schedule, const ChannelMap& channels,
                       const TransportSemantics& semantics)
    : schedule_(schedule), channels_(channels), semantics_(semantics) {
  std::int32_t messages = 0;
  for (const std::int32_t count : channels.counts()) {
    progress_.push_back({.first = messages, .count = count});
    messages += count;
  }
  CHECK(messages <= Instruction::index_max);
  parts_.messages.resize(at(messages));
  parts_.received.resize(at(messages));
  read_.resize(at(messages), false);
  ways_.resize(2 * at(schedule.pipeline.stages()) * at(schedule.pipeline.microbatches()));
}

GivenOrder::Parts GivenOrder::write(const CommunicationOrder& communication,
                                    Violations& violations) {
  CHECK(communication.size() == schedule_.ranks.size());
  violations_ = &violations;
  parts_.instructions.resize(communication.size());
  for (std::size_t rank = 0; rank < communication.size(); ++rank) {
    write_rank(static_cast<int>(rank), communication[rank]);
  }
  check_all_communicated();
  return std::move(parts_);
}

void GivenOrder::write_rank(int rank, const std::vector<CommunicationStep>& steps) {
  rank_ = rank;
  slot_ = 0;
  out_ = &parts_.instructions[at(rank)];
  for (const CommunicationStep& step : steps) {
    switch (step.kind) {
      case CommunicationStep::Kind::run:
        run();
        break;
      case CommunicationStep::Kind::send:
      case CommunicationStep::Kind::receive:
        communicate(step);
        break;
      case CommunicationStep::Kind::commit:
        let_group_go();
        break;
    }
  }
  CHECK(at(slot_) == schedule_.ranks[at(rank)].size());
  finish_rank();
}

void GivenOrder::complain(const std::string& message) {
  const std::int32_t last = static_cast<std::int32_t>(schedule_.ranks[at(rank_)].size()) - 1;
  violations_->add({.kind = Violation::Kind::message,
                    .rank = rank_,
                    .slot = std::min(slot_, last),
                    .message = message});
}

void GivenOrder::communicate(const CommunicationStep& step) {
  const Value& value = step.value;
  const int stages = schedule_.pipeline.stages();
  if (value.stage < 0 || value.stage >= stages || receiving_stage(value, stages) < 0 ||
      channels_.of(value) == ChannelMap::local) {
    return;  // The end of the pipeline, or a turn that stays on its rank.
  }
  const bool sends = step.kind == CommunicationStep::Kind::send;
  const Channel& channel = channels_.channels()[at(channels_.of(value))];
  if (rank_ != (sends ? channel.source : channel.destination)) {
    complain(fmt::format("rank {} {} {} in another rank's place", rank_,
                         sends ? "sends" : "receives", name(value)));
  } else if (sends) {
    send(value, way_of(value), progress_of(value));
  } else {
    receive(value, way_of(value), progress_of(value));
  }
}

void GivenOrder::send(const Value& value, Way& way, Progress& progress) {
  if (way.written == not_yet) {
    complain(fmt::format("rank {} sends {} before it is written", rank_, name(value)));
    return;
  }
  if (way.sent != not_yet) {
    complain(fmt::format("rank {} sends {} twice", rank_, name(value)));
    return;
  }
  if (semantics_.grouped && way.written != progress.sent) {  // The buffers' order is that one.
    complain(
        fmt::format("rank {} sends {} in another order than it was written", rank_, name(value)));
    return;
  }
  way.sent = progress.first + progress.sent;
  parts_.messages[at(way.sent)] = {
      .value = value, .channel = channels_.of(value), .sequence = progress.sent};
  ++progress.sent;
  if (semantics_.grouped) {
    group_.push_back({Kind::send, way.sent});
    return;
  }
  emit(Kind::send, way.sent);
  if (semantics_.send_slots == 0) {
    emit(Kind::await_sent, way.sent);
  }
}

void GivenOrder::receive(const Value& value, Way& way, Progress& progress) {
  if (way.received != not_yet) {
    complain(fmt::format("rank {} receives {} twice", rank_, name(value)));
    return;
  }
  way.received = progress.first + progress.received;
  parts_.received[at(way.received)] = value;
  ++progress.received;
  parts_.receive_buffers =
      std::max(parts_.receive_buffers, static_cast<int>(progress.received - progress.consumed));
  if (semantics_.grouped) {
    group_.push_back({Kind::receive, way.received});
    return;
  }
  emit(Kind::receive, way.received);
  if (semantics_.send_slots == 0) {
    emit(Kind::await_received, way.received);
  }
}

void GivenOrder::run() {
  const Slot& slot = schedule_.ranks[at(rank_)][at(slot_)];
  for (const Op& op : slot) {
    for (const Value& value : reads(op, schedule_.pipeline.stages())) {
      if (value.stage != op.stage && channels_.of(value) != ChannelMap::local) {
        read(value);
      }
    }
  }
  for (const Op& op : slot) {
    for (const Value& value : writes(op)) {
      if (channels_.of(value) != ChannelMap::local) {
        write(value);
      }
    }
  }
  emit(Kind::run, slot_);
  ++slot_;
}

void GivenOrder::read(const Value& value) {
  const Way& way = way_of(value);
  if (way.received == not_yet || waits_for_commit(Kind::receive, way.received)) {
    complain(fmt::format("{} runs before the receive of {}",
                         to_string(schedule_.ranks[at(rank_)][at(slot_)]), name(value)));
    return;
  }
  Progress& progress = progress_of(value);
  read_[at(way.received)] = true;
  while (progress.consumed < progress.received && read_[at(progress.first + progress.consumed)]) {
    ++progress.consumed;
  }
  if (!semantics_.grouped && semantics_.send_slots > 0) {
    emit(Kind::await_received, way.received);
  }
}

void GivenOrder::write(const Value& value) {
  Progress& progress = progress_of(value);
  way_of(value).written = progress.written;
  ++progress.written;
  if (!semantics_.grouped) {  // Values may be sent in any order, and long after: one buffer each.
    parts_.send_buffers = std::max(parts_.send_buffers, static_cast<int>(progress.count));
    return;
  }
  const auto held = std::count_if(group_.begin(), group_.end(), [&](const auto& posted) {
    return posted.kind == Kind::send && posted.index >= progress.first &&
           posted.index < progress.first + progress.count;
  });
  parts_.send_buffers =
      std::max(parts_.send_buffers, static_cast<int>(progress.written - progress.sent + held));
}

bool GivenOrder::waits_for_commit(Kind kind, std::int32_t message) const {
  return std::any_of(group_.begin(), group_.end(), [&](const Instruction& posted) {
    return posted.kind == kind && posted.index == message;
  });
}

void GivenOrder::let_group_go() {
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

// Every send is waited for before the rank is done.
void GivenOrder::finish_rank() {
  if (!group_.empty()) {
    complain(fmt::format("rank {} never lets its last group go", rank_));
    group_.clear();
  }
  if (semantics_.grouped || semantics_.send_slots == 0) {
    return;
  }
  for (std::size_t channel = 0; channel < progress_.size(); ++channel) {
    if (channels_.channels()[channel].source == rank_) {
      for (std::int32_t k = 0; k < progress_[channel].sent; ++k) {
        emit(Kind::await_sent, progress_[channel].first + k);
      }
    }
  }
}

// What is not received has been noticed where it is read.
void GivenOrder::check_all_communicated() {
  for (rank_ = 0; rank_ < schedule_.pipeline.ranks(); ++rank_) {
    slot_ = 0;
    for (const Slot& slot : schedule_.ranks[at(rank_)]) {
      for (const Op& op : slot) {
        for (const Value& value : writes(op)) {
          if (channels_.of(value) != ChannelMap::local && way_of(value).sent == not_yet) {
            complain(fmt::format("rank {} never sends {}", rank_, name(value)));
          }
        }
      }
      ++slot_;
    }
  }
}

GivenOrder::Way& GivenOrder::way_of(const Value& value) {
  const std::size_t microbatches = at(schedule_.pipeline.microbatches());
  const std::size_t kind =
      value.kind == ValueKind::activation ? 0 : at(schedule_.pipeline.stages());
  return ways_[(kind + at(value.stage)) * microbatches + at(value.microbatch)];
}

GivenOrder::Progress& GivenOrder::progress_of(const Value& value) {
  return progress_[at(channels_.of(value))];
}

}  // namespace dualpipe
