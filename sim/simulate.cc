#include "sim/simulate.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "costs/check.h"
#include "costs/cost_model.h"
#include "scheduler/memory.h"
#include "scheduler/program.h"
#include "scheduler/schedule.h"
#include "scheduler/slot_time.h"
#include "sim/durations.h"
#include "sim/tail.h"
#include "trace/timeline.h"

namespace dualpipe {
namespace {

std::size_t at(int index) {
  return static_cast<std::size_t>(index);
}

// Executes every rank as far as it can, again when a message it waits for is sent. The program is
// proven, so nobody waits for ever, and start times do not depend on the order of execution.
class Pass {
 public:
  // Durations are those of the cost model where there are no others.
  Pass(const Program& program, const CostModel& costs, const StepDurations* durations,
       Timeline& timeline)
      : program_(program),
        costs_(costs),
        durations_(durations),
        journeys_(program.messages().size()) {
    const std::vector<std::size_t> first = first_slots(program);
    for (const Channel& channel : program.channels()) {
      transfers_.push_back(costs.transfer(channel.source, channel.destination));
    }
    for (int rank = 0; rank < program.pipeline().ranks(); ++rank) {
      ranks_.push_back(
          {.rest = program.instructions(rank),
           .slots = program.slots(rank).data(),
           .durations = durations == nullptr ? nullptr : durations->slots.data() + first[at(rank)],
           .spans = &timeline.ranks[at(rank)],
           .clock = Time{}});
    }
  }

  void run() {
    for (int rank = program_.pipeline().ranks() - 1; rank >= 0; --rank) {
      ready_.push_back(rank);
    }
    while (!ready_.empty()) {
      const int rank = ready_.back();
      ready_.pop_back();
      advance(rank);
    }
    for (const Rank& rank : ranks_) {
      CHECK(rank.rest.empty());
    }
  }

  [[nodiscard]] Time arrival(std::size_t message) const { return journeys_[message].arrival(); }
  [[nodiscard]] Time transfer_of(std::int32_t message) const {
    return durations_ == nullptr ? transfers_[at(program_.message(message).channel)]
                                 : durations_->transfers[at(message)];
  }

 private:
  // All that is touched when a rank goes on, side by side: with hundreds of ranks that take turns
  // after every slot, memory is what the pass waits for.
  struct Rank {
    std::span<const Instruction> rest;
    const Slot* slots = nullptr;
    const Time* durations = nullptr;  // of its slots, if not those of the cost model
    std::vector<Span>* spans = nullptr;
    Time clock{};
  };

  // Of a message: when it arrives; before it is sent, who waits for it, if anyone.
  class Journey {
   public:
    [[nodiscard]] bool is_sent() const { return code_ >= 0; }
    [[nodiscard]] Time arrival() const { return Time(code_); }
    [[nodiscard]] bool is_awaited() const { return code_ < nobody; }
    [[nodiscard]] int awaited_by() const { return static_cast<int>(nobody - 1 - code_); }
    void await(int rank) { code_ = nobody - 1 - rank; }
    void send(Time arrival) { code_ = arrival.count(); }

   private:
    static constexpr std::int64_t nobody = -1;
    std::int64_t code_ = nobody;
  };

  void advance(int index) {
    Rank& rank = ranks_[at(index)];
    for (; !rank.rest.empty(); rank.rest = rank.rest.subspan(1)) {
      const Instruction instruction = rank.rest.front();
      if (instruction.kind == Instruction::Kind::await_received) {
        Journey& journey = journeys_[at(instruction.index)];
        if (!journey.is_sent()) {
          journey.await(index);
          return;
        }
        rank.clock = std::max(rank.clock, journey.arrival());
      } else if (instruction.kind == Instruction::Kind::run) {
        const Slot& slot = rank.slots[instruction.index];
        const Time begin = rank.clock;
        rank.clock +=
            rank.durations == nullptr ? slot_time(slot, costs_) : rank.durations[instruction.index];
        rank.spans->push_back({.slot = slot, .begin = begin, .end = rank.clock});
      } else if (instruction.kind == Instruction::Kind::send) {
        Journey& journey = journeys_[at(instruction.index)];
        if (journey.is_awaited()) {
          ready_.push_back(journey.awaited_by());
        }
        journey.send(rank.clock + transfer_of(instruction.index));
      }
    }
  }

  const Program& program_;
  const CostModel& costs_;
  const StepDurations* durations_ = nullptr;
  std::vector<Time> transfers_;  // [channel]
  std::vector<Rank> ranks_;
  std::vector<Journey> journeys_;  // [message]
  std::vector<int> ready_;         // ranks that may go on
};

// A channel's messages are sent in order, and channels are sorted: so are the transfers.
std::vector<Transfer> transfers_of(const Program& program, const Pass& pass) {
  std::vector<Transfer> transfers;
  transfers.reserve(program.messages().size());
  for (std::size_t index = 0; index < program.messages().size(); ++index) {
    const Message& message = program.messages()[index];
    const Channel& channel = program.channel_of(message);
    const Time arrived = pass.arrival(index);
    transfers.push_back({.value = message.value,
                         .source = channel.source,
                         .destination = channel.destination,
                         .begin = arrived - pass.transfer_of(static_cast<std::int32_t>(index)),
                         .end = arrived});
  }
  return transfers;
}

Timeline run_pass(const Program& program, const CostModel& costs, const StepDurations* durations,
                  const SimulationOptions& options) {
  const Pipeline& pipeline = program.pipeline();
  CHECK(costs.stages.size() == at(pipeline.stages()));
  Timeline timeline{
      .pipeline = pipeline, .ranks = {}, .transfers = {}, .stage_bytes = stage_bytes_of(costs)};
  timeline.ranks.resize(at(pipeline.ranks()));
  for (int rank = 0; rank < pipeline.ranks(); ++rank) {
    timeline.ranks[at(rank)].reserve(program.slots(rank).size());
  }
  Pass pass(program, costs, durations, timeline);
  pass.run();
  if (options.transfers) {
    timeline.transfers = transfers_of(program, pass);
  }
  append_tail(timeline, costs);
  return timeline;
}

}  // namespace

Timeline simulate(const Program& program, const CostModel& costs,
                  const SimulationOptions& options) {
  return run_pass(program, costs, nullptr, options);
}

Timeline simulate(const Program& program, const CostModel& costs, const StepDurations& durations,
                  const SimulationOptions& options) {
  CHECK(durations.slots.size() == first_slots(program).back() &&
        durations.transfers.size() == program.messages().size());
  return run_pass(program, costs, &durations, options);
}

}  // namespace dualpipe
