#include "tests/support/brute_force.h"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "costs/check.h"
#include "scheduler/program.h"

namespace dualpipe {
namespace {

using Kind = Instruction::Kind;
using Transfers = std::uint64_t;  // a set: bit k is transfer k

constexpr Transfers only(std::size_t transfer) {
  return Transfers{1} << transfer;
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
  std::size_t transfer = 0;
  bool is_send = false;
  std::size_t issued_by = 0;   // number of instructions after which it is issued
  Transfers sends_behind = 0;  // what must be done before it gets to the front
  Transfers receives_behind = 0;
  int group = 0;
  std::string queue;
};

// Two ends that meet: the k-th send and the k-th receive of a lane.
struct Transfer {
  Operation send;
  Operation receive;
  int source = 0;
  int destination = 0;
  Transfers of_lane = 0;  // all of its lane
  Transfers before = 0;   // those of its lane that come first
};

struct State {
  std::vector<std::size_t> next;  // [rank]: instruction
  Transfers sent = 0;
  Transfers received = 0;

  auto operator<=>(const State&) const = default;
};

class Explorer {
 public:
  explicit Explorer(const Program& program)
      : program_(program),
        transfers_(program.messages().size()),
        sent_as_(transfers_.size()),
        received_as_(transfers_.size()) {
    CHECK(transfers_.size() <= 64);
    meet();
    for (int rank = 0; rank < program.pipeline().ranks(); ++rank) {
      find_operations(rank);
    }
  }

  Interleavings explore() {
    visit({.next = std::vector<std::size_t>(program_.schedule().ranks.size(), 0)});
    while (!open_.empty()) {
      const State state = open_.back();
      open_.pop_back();
      step(state);
    }
    found_.states = seen_.size();
    return found_;
  }

 private:
  // Who meets whom, by counting on each lane.
  void meet() {
    std::map<std::string, std::vector<std::int32_t>> sends;
    std::map<std::string, std::vector<std::int32_t>> receives;
    for (int rank = 0; rank < program_.pipeline().ranks(); ++rank) {
      for (const Instruction& instruction : program_.instructions(rank)) {
        if (instruction.kind == Kind::send || instruction.kind == Kind::receive) {
          const Channel& channel = program_.channel_of(program_.message(instruction.index));
          const std::string lane = communicator(channel, program_.semantics().topology) + " from " +
                                   std::to_string(channel.source) + " to " +
                                   std::to_string(channel.destination);
          (instruction.kind == Kind::send ? sends : receives)[lane].push_back(instruction.index);
        }
      }
    }
    std::size_t transfer = 0;
    for (const auto& [lane, messages] : sends) {
      const std::size_t first = transfer;
      for (std::size_t k = 0; k < messages.size(); ++k, ++transfer) {
        const Channel& channel = program_.channel_of(program_.message(messages[k]));
        sent_as_[static_cast<std::size_t>(messages[k])] = transfer;
        received_as_[static_cast<std::size_t>(receives[lane][k])] = transfer;
        transfers_[transfer].source = channel.source;
        transfers_[transfer].destination = channel.destination;
        for (std::size_t earlier = first; earlier < transfer; ++earlier) {
          transfers_[transfer].before |= only(earlier);
        }
      }
      for (std::size_t one = first; one < transfer; ++one) {
        for (std::size_t other = first; other < transfer; ++other) {
          transfers_[one].of_lane |= only(other);
        }
      }
    }
  }

  void find_operations(int rank) {
    const std::span<const Instruction> instructions = program_.instructions(rank);
    const bool grouped = program_.semantics().grouped;
    std::vector<const Instruction*> open_group;
    std::vector<Operation> issued;
    int group = 0;
    for (std::size_t at = 0; at < instructions.size(); ++at) {
      const Kind kind = instructions[at].kind;
      if (kind == Kind::send || kind == Kind::receive) {
        open_group.push_back(&instructions[at]);
      }
      if (kind == Kind::end_group || (!grouped && !open_group.empty())) {
        for (const Instruction* instruction : open_group) {
          Operation operation = issued_as(*instruction, group);
          operation.issued_by = at + 1;
          issue(operation, issued);
        }
        open_group.clear();
        ++group;
      }
    }
    CHECK(open_group.empty());
  }

  // One communicator runs its groups one after another.
  void issue(Operation operation, std::vector<Operation>& issued) {
    for (const Operation& before : issued) {
      if (before.queue == operation.queue && before.group < operation.group) {
        (before.is_send ? operation.sends_behind : operation.receives_behind) |=
            only(before.transfer);
      }
    }
    Transfer& transfer = transfers_[operation.transfer];
    (operation.is_send ? transfer.send : transfer.receive) = operation;
    issued.push_back(operation);
  }

  [[nodiscard]] Operation issued_as(const Instruction& instruction, int group) const {
    Operation operation;
    operation.is_send = instruction.kind == Kind::send;
    operation.transfer =
        (operation.is_send ? sent_as_ : received_as_)[static_cast<std::size_t>(instruction.index)];
    operation.group = group;
    operation.queue = communicator(program_.channel_of(program_.message(instruction.index)),
                                   program_.semantics().topology);
    return operation;
  }

  static bool at_front(const Operation& operation, int rank, const State& state) {
    return state.next[static_cast<std::size_t>(rank)] >= operation.issued_by &&
           (operation.sends_behind & ~state.sent) == 0 &&
           (operation.receives_behind & ~state.received) == 0;
  }

  [[nodiscard]] bool may_pass(const Instruction& instruction, const State& state) const {
    const std::size_t message = static_cast<std::size_t>(instruction.index);
    switch (instruction.kind) {
      case Kind::await_sent:
        return (state.sent & only(sent_as_[message])) != 0;
      case Kind::await_received:
        return (state.received & only(received_as_[message])) != 0;
      default:
        return true;
    }
  }

  void step(const State& state) {
    bool moved = false;
    const auto go_to = [&](const State& after) {
      visit(after);
      moved = true;
    };
    bool all_at_end = true;
    for (std::size_t rank = 0; rank < state.next.size(); ++rank) {
      const std::span<const Instruction> instructions =
          program_.instructions(static_cast<int>(rank));
      if (state.next[rank] == instructions.size()) {
        continue;
      }
      all_at_end = false;
      if (may_pass(instructions[state.next[rank]], state)) {
        State after = state;
        ++after.next[rank];
        go_to(after);
      }
    }
    for (std::size_t number = 0; number < transfers_.size(); ++number) {
      move(number, state, go_to);
    }
    if (!moved) {
      (all_at_end ? found_.some_finish : found_.some_hang) = true;
    }
  }

  // All that can happen to one transfer.
  template <typename GoTo>
  void move(std::size_t number, const State& state, const GoTo& go_to) const {
    const Transfer& transfer = transfers_[number];
    const bool sent = (state.sent & only(number)) != 0;
    const bool received = (state.received & only(number)) != 0;
    const bool may_send = !sent && at_front(transfer.send, transfer.source, state);
    const bool may_receive = !received && at_front(transfer.receive, transfer.destination, state);
    State after = state;
    if (may_send && may_receive) {
      after.sent |= only(number);
      after.received |= only(number);
      go_to(after);
    }
    after = state;
    const int held = std::popcount(state.sent & ~state.received & transfer.of_lane);
    if (may_send && held < program_.semantics().buffering && (transfer.before & ~state.sent) == 0) {
      after.sent |= only(number);
      go_to(after);
    }
    after = state;
    if (sent && may_receive) {
      after.received |= only(number);
      go_to(after);
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
  std::vector<Transfer> transfers_;
  std::vector<std::size_t> sent_as_;      // [message]: transfer
  std::vector<std::size_t> received_as_;  // [message]: transfer
  std::set<State> seen_;
  std::vector<State> open_;
  Interleavings found_;
};

}  // namespace

Interleavings all_interleavings(const Program& program) {
  return Explorer(program).explore();
}

}  // namespace dualpipe
