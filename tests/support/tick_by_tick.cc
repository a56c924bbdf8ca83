#include "tests/support/tick_by_tick.h"

#include <algorithm>
#include <cstddef>
#include <map>
#include <utility>
#include <vector>

#include "costs/check.h"
#include "costs/cost_model.h"
#include "scheduler/memory.h"
#include "scheduler/op.h"
#include "scheduler/program.h"
#include "scheduler/schedule.h"
#include "sim/durations.h"
#include "sim/network.h"
#include "tests/support/fair_rates.h"
#include "trace/timeline.h"

namespace dualpipe {
namespace {

using Kind = Instruction::Kind;
using Mode = NetworkModel::Mode;
using Sharing = NetworkModel::Sharing;

std::size_t at(int index) {
  return static_cast<std::size_t>(index);
}

Time time_of(const Slot& slot, const CostModel& costs) {
  const auto stage = [&](const Op& op) { return costs.stages[at(op.stage)]; };
  if (slot.is_pair()) {
    return overlapped_time(stage(slot.front()), stage(slot.back()));
  }
  const StageCosts of = stage(slot.front());
  const std::map<OpKind, Time> times{{OpKind::forward, of.forward},
                                     {OpKind::backward, of.backward_input + of.backward_weight},
                                     {OpKind::backward_input, of.backward_input},
                                     {OpKind::backward_weight, of.backward_weight}};
  return times.at(slot.front().kind);
}

class Ticker {
 public:
  Ticker(const Program& program, const CostModel& costs, const NetworkModel& network)
      : program_(program), costs_(costs), network_(network) {
    timeline_ = {.pipeline = program.pipeline(),
                 .ranks = {},
                 .transfers = {},
                 .stage_bytes = stage_bytes_of(costs)};
    timeline_.ranks.resize(at(program.pipeline().ranks()));
    ranks_.resize(timeline_.ranks.size());
    for (const Message& message : program.messages()) {
      const Channel& channel = program.channel_of(message);
      const Link link = costs.link(channel.source, channel.destination);
      messages_.push_back({.source = channel.source,
                           .destination = channel.destination,
                           .latency = link.latency,
                           .bytes = static_cast<double>(link.busy.count())});
      timeline_.transfers.push_back({.value = message.value,
                                     .source = channel.source,
                                     .destination = channel.destination,
                                     .begin = {},
                                     .end = {}});
    }
  }

  void set(const StepDurations& durations) {
    durations_ = &durations;
    for (std::size_t index = 0; index < messages_.size(); ++index) {
      CHECK(messages_[index].latency == Time{});
      messages_[index].bytes = static_cast<double>(durations.transfers[index].count());
    }
  }

  Timeline run() {
    for (now_ = Time{}; !is_over(); now_ += Time(1)) {
      CHECK(now_ < Time(1'000'000));
      while (change_something()) {
      }
      flow();
    }
    return timeline_;
  }

 private:
  struct Rank {
    std::size_t next = 0;  // instruction
    bool is_computing = false;
    int group = 0;
  };
  struct Transfer {
    int source = 0;
    int destination = 0;
    Time latency{};      // left
    double bytes = 0.0;  // left, as time at rate 1
    bool is_begun = false;
    bool is_done = false;
  };
  // What a rank has posted; visible to its communicator when its group is closed.
  struct Operation {
    int rank = 0;
    std::pair<int, int> communicator;
    int group = 0;
    int message = 0;
    bool is_send = false;
    bool is_closed = false;
  };

  [[nodiscard]] bool is_over() const {
    for (std::size_t rank = 0; rank < ranks_.size(); ++rank) {
      if (ranks_[rank].next < program_.instructions(static_cast<int>(rank)).size()) {
        return false;
      }
    }
    return std::all_of(messages_.begin(), messages_.end(),
                       [](const Transfer& message) { return message.is_done; });
  }

  // Slots begin only when nothing else changes.
  bool change_something() {
    bool changed = end_slots();
    changed = end_transfers() || changed;
    for (std::size_t rank = 0; rank < ranks_.size(); ++rank) {
      while (execute_one(static_cast<int>(rank))) {
        changed = true;
      }
    }
    changed = begin_transfers() || changed;
    return changed || begin_slots();
  }

  bool end_slots() {
    bool changed = false;
    for (std::size_t rank = 0; rank < ranks_.size(); ++rank) {
      if (ranks_[rank].is_computing && timeline_.ranks[rank].back().end == now_) {
        ranks_[rank].is_computing = false;
        ++ranks_[rank].next;
        changed = true;
      }
    }
    return changed;
  }

  bool end_transfers() {
    bool changed = false;
    for (std::size_t index = 0; index < messages_.size(); ++index) {
      Transfer& message = messages_[index];
      if (message.is_begun && !message.is_done && message.latency == Time{} &&
          message.bytes < 1e-6) {
        message.is_done = true;
        timeline_.transfers[index].end = now_;
        changed = true;
      }
    }
    return changed;
  }

  bool execute_one(int rank) {
    Rank& state = ranks_[at(rank)];
    if (state.is_computing || state.next == program_.instructions(rank).size()) {
      return false;
    }
    const Instruction instruction = program_.instructions(rank)[state.next];
    switch (instruction.kind) {
      case Kind::run:
        return false;
      case Kind::await_sent:
        if (network_.mode != Mode::eager && !messages_[at(instruction.index)].is_done) {
          return false;
        }
        break;
      case Kind::await_received:
        if (!messages_[at(instruction.index)].is_done) {
          return false;
        }
        break;
      case Kind::end_group:
        close(rank);
        break;
      case Kind::send:
      case Kind::receive:
        post(rank, instruction);
        break;
    }
    ++state.next;
    return true;
  }

  void post(int rank, const Instruction& instruction) {
    const Message& message = program_.message(instruction.index);
    operations_.push_back(
        {.rank = rank,
         .communicator = communicator_of(program_.channel_of(message), message.channel,
                                         program_.semantics().topology),
         .group = ranks_[at(rank)].group,
         .message = instruction.index,
         .is_send = instruction.kind == Kind::send});
    if (!program_.semantics().grouped) {
      close(rank);
    }
  }

  void close(int rank) {
    for (Operation& operation : operations_) {
      operation.is_closed = operation.is_closed || operation.rank == rank;
    }
    ++ranks_[at(rank)].group;
  }

  // Closed, and everything of earlier groups on the same communicator done.
  [[nodiscard]] bool is_started(int message, bool is_send) const {
    for (const Operation& operation : operations_) {
      if (operation.message == message && operation.is_send == is_send) {
        return operation.is_closed &&
               std::none_of(operations_.begin(), operations_.end(), [&](const Operation& other) {
                 return other.rank == operation.rank &&
                        other.communicator == operation.communicator &&
                        other.group < operation.group && !messages_[at(other.message)].is_done;
               });
      }
    }
    return false;
  }

  // With an eager sender that is all there is to it.
  [[nodiscard]] bool is_ready(int message) const {
    if (network_.mode == Mode::eager) {
      return std::any_of(operations_.begin(), operations_.end(), [&](const Operation& operation) {
        return operation.message == message && operation.is_send;
      });
    }
    return is_started(message, true) && is_started(message, false);
  }

  bool begin_transfers() {
    bool changed = false;
    for (std::size_t index = 0; index < messages_.size(); ++index) {
      Transfer& message = messages_[index];
      const bool is_held_back = network_.blocking && (ranks_[at(message.source)].is_computing ||
                                                      ranks_[at(message.destination)].is_computing);
      if (!message.is_begun && !is_held_back && is_ready(static_cast<int>(index))) {
        message.is_begun = true;
        timeline_.transfers[index].begin = now_;
        changed = true;
      }
    }
    return changed;
  }

  bool begin_slots() {
    bool changed = false;
    for (std::size_t rank = 0; rank < ranks_.size(); ++rank) {
      const int number = static_cast<int>(rank);
      Rank& state = ranks_[rank];
      if (state.is_computing || state.next == program_.instructions(number).size() ||
          program_.instructions(number)[state.next].kind != Kind::run ||
          (network_.blocking && has_transfer(number))) {
        continue;
      }
      const std::size_t index = at(program_.instructions(number)[state.next].index);
      const Slot& slot = program_.slots(number)[index];
      const Time duration = durations_ == nullptr
                                ? time_of(slot, costs_)
                                : durations_->slots[first_slots(program_)[rank] + index];
      timeline_.ranks[rank].push_back({.slot = slot, .begin = now_, .end = now_ + duration});
      state.is_computing = true;
      changed = true;
    }
    return changed;
  }

  [[nodiscard]] bool has_transfer(int rank) const {
    for (std::size_t index = 0; index < messages_.size(); ++index) {
      const Transfer& message = messages_[index];
      if ((message.source == rank || message.destination == rank) && !message.is_done &&
          is_ready(static_cast<int>(index))) {
        return true;
      }
    }
    return false;
  }

  [[nodiscard]] std::vector<int> ports_of(std::size_t index) const {
    const Transfer& message = messages_[index];
    const int ranks = program_.pipeline().ranks();
    const bool in_node =
        message.source / costs_.ranks_per_node == message.destination / costs_.ranks_per_node;
    switch (network_.sharing) {
      case Sharing::none:
        return {static_cast<int>(index)};
      case Sharing::pair:
        return {message.source * ranks + message.destination};
      case Sharing::nic:
        return {message.source + (in_node ? 2 * ranks : 0),
                message.destination + (in_node ? 3 * ranks : ranks)};
    }
    return {};
  }

  void flow() {
    std::vector<std::size_t> flowing;
    std::vector<std::vector<int>> ports;
    for (std::size_t index = 0; index < messages_.size(); ++index) {
      Transfer& message = messages_[index];
      if (!message.is_begun || message.is_done) {
        continue;
      }
      if (message.latency > Time{}) {
        message.latency -= Time(1);
      } else {
        flowing.push_back(index);
        ports.push_back(ports_of(index));
      }
    }
    if (ports != ports_) {
      ports_ = ports;
      rates_ = fair_rates(ports_);
    }
    for (std::size_t flow = 0; flow < flowing.size(); ++flow) {
      messages_[flowing[flow]].bytes -= rates_[flow];
    }
  }

  const Program& program_;
  const CostModel& costs_;
  const NetworkModel& network_;
  const StepDurations* durations_ = nullptr;  // null: those of the costs
  Timeline timeline_;
  std::vector<Rank> ranks_;
  std::vector<Transfer> messages_;
  std::vector<Operation> operations_;
  std::vector<std::vector<int>> ports_;  // of what flows, and the rates that go with it
  std::vector<double> rates_;
  Time now_{};
};

}  // namespace

Timeline tick_by_tick(const Program& program, const CostModel& costs, const NetworkModel& network) {
  return Ticker(program, costs, network).run();
}

Timeline tick_by_tick(const Program& program, const CostModel& costs, const NetworkModel& network,
                      const StepDurations& durations) {
  Ticker ticker(program, costs, network);
  ticker.set(durations);
  return ticker.run();
}

}  // namespace dualpipe
