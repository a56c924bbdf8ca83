#include "runtime/rank_plan.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <ranges>
#include <span>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "costs/check.h"
#include "costs/error.h"
#include "runtime/operations.h"
#include "scheduler/op.h"
#include "scheduler/program.h"
#include "scheduler/schedule.h"

namespace dualpipe {
namespace {

std::size_t at(int index) {
  return static_cast<std::size_t>(index);
}

// Gives out the lowest free number; the count is the most that were taken at once.
class Numbers {
 public:
  int take() {
    if (free_.empty()) {
      return count_++;
    }
    const auto lowest = std::min_element(free_.begin(), free_.end());
    const int number = *lowest;
    free_.erase(lowest);
    return number;
  }
  void give_back(int number) { free_.push_back(number); }
  [[nodiscard]] int count() const { return count_; }

 private:
  int count_ = 0;
  std::vector<int> free_;
};

class Planner {
 public:
  Planner(const Program& program, int rank)
      : program_(program), pipeline_(program.pipeline()), rank_(rank) {
    find_stages();
    next_message_.resize(program.channels().size(), {0, 0});
    first_message_.resize(program.channels().size(), 0);
    const std::span<const Message> messages = program.messages();
    for (std::size_t index = messages.size(); index-- > 0;) {
      first_message_[at(messages[index].channel)] = static_cast<std::int32_t>(index);
    }
  }

  [[nodiscard]] RankPlan plan() {
    plan_.rank = rank_;
    for (const Slot& slot : program_.slots(rank_)) {
      std::array<OpPlan, 2>& ops = plan_.slots.emplace_back();
      std::size_t which = 0;
      for (const Op& op : slot) {
        ops[which++] = plan_op(op);
      }
      for (const Op& op : slot) {  // What the slot is done with is free only after all of it.
        release(op);
      }
    }
    for (std::size_t held = 0; held < plan_.stages.size(); ++held) {
      plan_.stages[held].activation_slots = activations_[held].count();
    }
    return std::move(plan_);
  }

 private:
  void find_stages() {
    for (int stage = 0; stage < pipeline_.stages(); ++stage) {
      for (int direction = 0; direction < pipeline_.placement.directions(); ++direction) {
        if (pipeline_.placement.rank_of_stage[at(direction)][at(stage)] == rank_) {
          plan_.stages.push_back(
              {.stage = stage, .direction = direction, .activation_slots = 0, .weight_order = {}});
        }
      }
    }
    activations_.resize(plan_.stages.size());
  }

  [[nodiscard]] int held(int stage, int microbatch) const {
    const int direction = pipeline_.direction[at(microbatch)];
    const auto found = std::find_if(plan_.stages.begin(), plan_.stages.end(), [&](const auto& one) {
      return one.stage == stage && one.direction == direction;
    });
    CHECK(found != plan_.stages.end());
    return static_cast<int>(found - plan_.stages.begin());
  }

  OpPlan plan_op(const Op& op) {
    OpPlan planned{
        .held = held(op.stage, op.microbatch), .activation_slot = 0, .input = {}, .output = {}};
    const std::pair<int, int> key{op.stage, op.microbatch};
    if (op.kind == OpKind::forward) {
      activation_slot_[key] = activations_[at(planned.held)].take();
    } else if (op.kind != OpKind::backward_input) {
      plan_.stages[at(planned.held)].weight_order.push_back(op.microbatch);
    }
    planned.activation_slot = activation_slot_.at(key);
    for (const Value& value : reads(op, pipeline_.stages())) {
      if (value.stage != op.stage) {
        planned.input = source(value);
      }
    }
    for (const Value& value : writes(op)) {
      if (receiving_stage(value, pipeline_.stages()) >= 0) {
        planned.output = destination(value);
      }
    }
    return planned;
  }

  void release(const Op& op) {
    if (op.kind == OpKind::backward || op.kind == OpKind::backward_weight) {
      const auto slot = activation_slot_.find({op.stage, op.microbatch});
      activations_[at(held(op.stage, op.microbatch))].give_back(slot->second);
      activation_slot_.erase(slot);
    }
    for (const Value& value : reads(op, pipeline_.stages())) {
      const auto buffer = local_.find(value);
      if (value.stage != op.stage && buffer != local_.end()) {
        free_local_[{value.kind, held(value.stage, value.microbatch)}].push_back(buffer->second);
        local_.erase(buffer);
      }
    }
  }

  Place source(const Value& value) {
    const auto buffer = local_.find(value);
    if (buffer != local_.end()) {
      return {.kind = Place::Kind::local, .index = buffer->second};
    }
    const int writer = pipeline_.rank_of(value.stage, value.microbatch);
    return message({writer, rank_, value.kind});
  }

  Place destination(const Value& value) {
    const int reader =
        pipeline_.rank_of(receiving_stage(value, pipeline_.stages()), value.microbatch);
    if (reader != rank_) {
      return message({rank_, reader, value.kind});
    }
    const int writer = held(value.stage, value.microbatch);
    std::vector<std::int32_t>& free = free_local_[{value.kind, writer}];
    if (free.empty()) {
      free.push_back(static_cast<std::int32_t>(plan_.local_buffers.size()));
      plan_.local_buffers.push_back({.kind = value.kind, .writer = writer});
    }
    const std::int32_t buffer = free.back();
    free.pop_back();
    local_[value] = buffer;
    return {.kind = Place::Kind::local, .index = buffer};
  }

  // Messages of a channel are numbered in order, and both its ends take them in that order.
  Place message(const Channel& channel) {
    const std::span<const Channel> channels = program_.channels();
    const auto found = std::lower_bound(channels.begin(), channels.end(), channel);
    CHECK(found != channels.end() && *found == channel);
    const std::size_t index = static_cast<std::size_t>(found - channels.begin());
    int& next = channel.source == rank_ ? next_message_[index].first : next_message_[index].second;
    return {.kind = Place::Kind::message, .index = first_message_[index] + next++};
  }

  const Program& program_;
  const Pipeline& pipeline_;
  int rank_;
  RankPlan plan_;
  std::vector<Numbers> activations_;                    // [held]
  std::map<std::pair<int, int>, int> activation_slot_;  // of (stage, microbatch) alive
  std::map<Value, std::int32_t> local_;                 // local buffer of each value alive
  std::map<std::pair<ValueKind, int>, std::vector<std::int32_t>> free_local_;  // by kind, writer
  std::vector<std::pair<int, int>> next_message_;  // [channel]: next sent, next received
  std::vector<std::int32_t> first_message_;        // [channel]
};

}  // namespace

RankPlan plan_rank(const Program& program, int rank) {
  return Planner(program, rank).plan();
}

// A channel's sends come to as many as there are slots, and stay at that: the buffer that one waits
// for is that of the last but so many.
std::size_t under_way_max(const Program& program, int rank, int send_slots) {
  CHECK(send_slots > 0);
  std::vector<int> sent(program.channels().size(), 0);
  std::size_t sends = 0;
  std::size_t receives = 0;
  std::size_t most = 0;
  for (const Instruction& instruction : program.instructions(rank)) {
    switch (instruction.kind) {
      case Instruction::Kind::receive:
        ++receives;
        break;
      case Instruction::Kind::await_received:
        --receives;
        break;
      case Instruction::Kind::send:
        sends += sent[at(program.message(instruction.index).channel)]++ < send_slots ? 1 : 0;
        break;
      case Instruction::Kind::run:
      case Instruction::Kind::await_sent:
      case Instruction::Kind::end_group:
        break;
    }
    most = std::max(most, sends + receives);
  }
  return most;
}

void require_room(const Program& program, int rank) {
  const auto fits = [&](int send_slots) {
    return under_way_max(program, rank, send_slots) <= Operations::outstanding_max;
  };
  const int send_slots = std::max(1, program.semantics().send_slots);
  if (fits(send_slots)) {
    return;
  }
  const int enough = *std::ranges::partition_point(std::views::iota(1, send_slots), fits) - 1;
  throw Error(
      ExitCode::usage,
      fmt::format("rank {} would have {} sends and receives under way at once, but a "
                  "transport holds {}: {}",
                  rank, under_way_max(program, rank, send_slots), Operations::outstanding_max,
                  enough > 0 ? fmt::format("use at most {} send buffers", enough)
                             : "post fewer receives ahead"));
}

}  // namespace dualpipe
