#include "tests/support/brute_force.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "costs/check.h"
#include "scheduler/program.h"

namespace dualpipe {
namespace {

using Kind = Instruction::Kind;
using Messages = std::uint64_t;  // a set: bit k is message k

constexpr Messages only(std::int32_t message) {
  return Messages{1} << static_cast<unsigned>(message);
}

// Operations with equal names on one rank run one after another.
std::string communicator(const Channel& channel, Topology topology) {
  const std::string lower = std::to_string(std::min(channel.source, channel.destination));
  const std::string higher = std::to_string(std::max(channel.source, channel.destination));
  const bool downwards = channel.source < channel.destination;
  switch (topology) {
    case Topology::channel:
      return to_string(channel);
    case Topology::edge:
      return downwards ? lower + ">" + higher : higher + ">" + lower;
    case Topology::pair:
      return lower + "-" + higher;
    case Topology::direction:
      return downwards ? "down" : "up";
    case Topology::world:
      return "world";
  }
  return "";
}

// A send or a receive, as one rank issues it.
struct Operation {
  std::size_t issued_by = 0;  // number of instructions after which it is issued
  Messages behind = 0;        // what must be done before it gets to the front
  int group = 0;
  std::string queue;
};

struct State {
  std::vector<std::size_t> next;  // [rank]: instruction
  Messages done = 0;

  auto operator<=>(const State&) const = default;
};

class Explorer {
 public:
  explicit Explorer(const Program& program)
      : program_(program), sends_(program.messages().size()), receives_(sends_.size()) {
    CHECK(sends_.size() <= 64);
    for (int rank = 0; rank < program.pipeline().ranks(); ++rank) {
      find_operations(rank);
    }
  }

  Interleavings explore() {
    visit({.next = std::vector<std::size_t>(program_.schedule().ranks.size(), 0), .done = 0});
    while (!open_.empty()) {
      const State state = open_.back();
      open_.pop_back();
      step(state);
    }
    found_.states = seen_.size();
    return found_;
  }

 private:
  void find_operations(int rank) {
    const std::span<const Instruction> instructions = program_.instructions(rank);
    const bool grouped = program_.semantics().grouped;
    std::vector<const Instruction*> open_group;
    std::vector<Operation*> issued;
    int group = 0;
    for (std::size_t at = 0; at < instructions.size(); ++at) {
      const Kind kind = instructions[at].kind;
      if (kind == Kind::send || kind == Kind::receive) {
        open_group.push_back(&instructions[at]);
      }
      if (kind == Kind::end_group || (!grouped && !open_group.empty())) {
        for (const Instruction* instruction : open_group) {
          Operation& operation = (instruction->kind == Kind::send
                                      ? sends_
                                      : receives_)[static_cast<std::size_t>(instruction->index)];
          const Channel& channel = program_.channel_of(program_.message(instruction->index));
          operation.issued_by = at + 1;
          operation.group = group;
          operation.queue = communicator(channel, program_.semantics().topology);
          for (const Operation* before : issued) {
            if (before->queue == operation.queue && before->group < group) {
              operation.behind |= message_of(*before);
            }
          }
          issued.push_back(&operation);
        }
        open_group.clear();
        ++group;
      }
    }
    CHECK(open_group.empty());
  }

  [[nodiscard]] Messages message_of(const Operation& operation) const {
    const bool is_send = &operation >= sends_.data() && &operation < sends_.data() + sends_.size();
    const std::vector<Operation>& kind = is_send ? sends_ : receives_;
    return only(static_cast<std::int32_t>(&operation - kind.data()));
  }

  [[nodiscard]] bool at_front(const Operation& operation, int rank, const State& state) const {
    return state.next[static_cast<std::size_t>(rank)] >= operation.issued_by &&
           (operation.behind & ~state.done) == 0;
  }

  void step(const State& state) {
    bool moved = false;
    bool all_at_end = true;
    for (std::size_t rank = 0; rank < state.next.size(); ++rank) {
      const std::span<const Instruction> instructions =
          program_.instructions(static_cast<int>(rank));
      if (state.next[rank] == instructions.size()) {
        continue;
      }
      all_at_end = false;
      const Instruction& next = instructions[state.next[rank]];
      const bool waits = next.kind == Kind::await_received || next.kind == Kind::await_sent;
      if (!waits || (state.done & only(next.index)) != 0) {
        State after = state;
        ++after.next[rank];
        visit(after);
        moved = true;
      }
    }
    for (std::size_t message = 0; message < sends_.size(); ++message) {
      const std::int32_t index = static_cast<std::int32_t>(message);
      const Channel& channel = program_.channel_of(program_.message(index));
      if ((state.done & only(index)) == 0 && at_front(sends_[message], channel.source, state) &&
          at_front(receives_[message], channel.destination, state)) {
        State after = state;
        after.done |= only(index);
        visit(after);
        moved = true;
      }
    }
    if (!moved) {
      (all_at_end ? found_.some_finish : found_.some_hang) = true;
    }
  }

  // Computing changes nothing that others see.
  void visit(State state) {
    for (std::size_t rank = 0; rank < state.next.size(); ++rank) {
      const std::span<const Instruction> instructions =
          program_.instructions(static_cast<int>(rank));
      while (state.next[rank] < instructions.size() &&
             instructions[state.next[rank]].kind == Kind::run) {
        ++state.next[rank];
      }
    }
    if (seen_.insert(state).second) {
      open_.push_back(state);
    }
  }

  const Program& program_;
  std::vector<Operation> sends_;     // [message]
  std::vector<Operation> receives_;  // [message]
  std::set<State> seen_;
  std::vector<State> open_;
  Interleavings found_;
};

}  // namespace

Interleavings all_interleavings(const Program& program) {
  return Explorer(program).explore();
}

}  // namespace dualpipe
