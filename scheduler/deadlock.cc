#include "scheduler/deadlock.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "costs/check.h"
#include "scheduler/op.h"
#include "scheduler/program.h"
#include "scheduler/schedule.h"

namespace dualpipe {
namespace {

using Kind = Instruction::Kind;

constexpr std::int32_t nobody = -1;

std::size_t at(int index) {
  return static_cast<std::size_t>(index);
}

// Which communicator a channel uses, as a pair that is equal for channels that share one.
std::pair<int, int> communicator_of(const Channel& channel, std::int32_t index, Topology topology) {
  switch (topology) {
    case Topology::channel:
      return {index, 0};
    case Topology::edge:
      return {channel.source, channel.destination};
    case Topology::pair:
      return std::minmax(channel.source, channel.destination);
    case Topology::direction:
      return {channel.destination > channel.source ? 1 : 0, 0};
    case Topology::world:
      return {0, 0};
  }
  return {0, 0};
}

// What one rank has issued on one communicator: a queue of groups, of which only the first is under
// way. A lone operation is a group of one.
struct Queue {
  struct Entry {
    std::int32_t message = 0;
    std::int32_t group = 0;
  };
  std::vector<Entry> entries;
  std::size_t front = 0;       // first entry of the group under way
  std::size_t active = 0;      // entries before this one have been started
  std::size_t unfinished = 0;  // operations of the group under way that are not done
};

class Player {
 public:
  explicit Player(const Program& program);

  // True if every rank comes to its end.
  bool play();

  // Requires: play() has returned false.
  [[nodiscard]] Deadlock shortest_cycle() const;

 private:
  struct Ends {
    std::int32_t source = 0;  // queue of the channel's sends
    std::int32_t destination = 0;
  };
  // Bits of state_.
  static constexpr std::uint8_t send_issued = 1;
  static constexpr std::uint8_t receive_issued = 2;
  static constexpr std::uint8_t send_started = 4;
  static constexpr std::uint8_t receive_started = 8;
  static constexpr std::uint8_t done = 16;

  void assign_queues();
  void advance(int rank);
  void issue(std::int32_t message, bool is_send, std::int32_t group);
  void start_front(Queue& queue, int rank);
  void start(std::int32_t message, bool is_send);
  void finish(std::int32_t message);
  void finish_in(std::int32_t queue);

  // The graph of waits after a deadlock: ranks come first, then messages.
  [[nodiscard]] std::vector<std::int32_t> waits_for(std::int32_t node) const;
  void add_end(std::int32_t message, bool is_send, std::vector<std::int32_t>& waited_for) const;
  [[nodiscard]] std::vector<std::int32_t> cycle_through(std::int32_t start) const;
  [[nodiscard]] std::string say(std::int32_t node, std::int32_t waited_for) const;
  [[nodiscard]] std::int32_t blocked_slot(int rank) const;
  [[nodiscard]] std::int32_t node_of(std::int32_t message) const {
    return program_.pipeline().ranks() + message;
  }
  [[nodiscard]] const Channel& channel(std::int32_t message) const {
    return program_.channel_of(program_.message(message));
  }

  const Program& program_;
  std::vector<Ends> ends_;  // [channel]
  std::vector<Queue> queues_;
  std::vector<std::uint8_t> state_;                 // [message]
  std::vector<std::size_t> next_;                   // [rank]: instruction
  std::vector<std::int32_t> awaited_;               // [rank]: message it is blocked on, or nobody
  std::vector<std::int32_t> groups_;                // [rank]: number of groups issued so far
  std::vector<std::vector<Instruction>> gathered_;  // [rank]: operations of the open group
  std::vector<int> ready_;                          // ranks that may go on
  std::vector<std::int32_t> finished_;  // messages whose consequences are yet to be drawn
};

Player::Player(const Program& program)
    : program_(program),
      ends_(program.channels().size()),
      state_(program.messages().size(), 0),
      next_(at(program.pipeline().ranks()), 0),
      awaited_(at(program.pipeline().ranks()), nobody),
      groups_(at(program.pipeline().ranks()), 0),
      gathered_(at(program.pipeline().ranks())) {
  assign_queues();
}

void Player::assign_queues() {
  std::map<std::tuple<int, int, int>, std::int32_t> known;  // rank, communicator
  const auto queue_of = [&](int rank, const std::pair<int, int>& communicator) {
    const auto [entry, is_new] = known.try_emplace({rank, communicator.first, communicator.second},
                                                   static_cast<std::int32_t>(known.size()));
    return entry->second;
  };
  for (std::size_t index = 0; index < ends_.size(); ++index) {
    const Channel& channel = program_.channels()[index];
    const std::pair<int, int> communicator =
        communicator_of(channel, static_cast<std::int32_t>(index), program_.semantics().topology);
    ends_[index] = {queue_of(channel.source, communicator),
                    queue_of(channel.destination, communicator)};
  }
  queues_.resize(known.size());
}

bool Player::play() {
  for (int rank = program_.pipeline().ranks() - 1; rank >= 0; --rank) {
    ready_.push_back(rank);
  }
  while (!ready_.empty()) {
    const int rank = ready_.back();
    ready_.pop_back();
    advance(rank);
  }
  for (int rank = 0; rank < program_.pipeline().ranks(); ++rank) {
    if (next_[at(rank)] < program_.instructions(rank).size()) {
      return false;
    }
  }
  return true;
}

// Executes a rank's instructions until it must wait.
void Player::advance(int rank) {
  const std::span<const Instruction> instructions = program_.instructions(rank);
  const bool grouped = program_.semantics().grouped;
  for (std::size_t& next = next_[at(rank)]; next < instructions.size(); ++next) {
    const Instruction& instruction = instructions[next];
    switch (instruction.kind) {
      case Kind::run:
        break;
      case Kind::send:
      case Kind::receive:
        if (grouped) {
          gathered_[at(rank)].push_back(instruction);
        } else {
          issue(instruction.index, instruction.kind == Kind::send, groups_[at(rank)]++);
        }
        break;
      case Kind::end_group:
        for (const Instruction& operation : gathered_[at(rank)]) {
          issue(operation.index, operation.kind == Kind::send, groups_[at(rank)]);
        }
        ++groups_[at(rank)];
        gathered_[at(rank)].clear();
        break;
      case Kind::await_received:
      case Kind::await_sent:
        if ((state_[at(instruction.index)] & done) == 0) {
          awaited_[at(rank)] = instruction.index;
          return;
        }
        break;
    }
  }
}

void Player::issue(std::int32_t message, bool is_send, std::int32_t group) {
  const Ends& ends = ends_[at(program_.message(message).channel)];
  Queue& queue = queues_[at(is_send ? ends.source : ends.destination)];
  state_[at(message)] |= is_send ? send_issued : receive_issued;
  queue.entries.push_back({message, group});
  const int rank = is_send ? channel(message).source : channel(message).destination;
  start_front(queue, rank);
  while (!finished_.empty()) {
    const std::int32_t next = finished_.back();
    finished_.pop_back();
    finish(next);
  }
}

// Starts what belongs to the group at the front of the queue and has not been started.
void Player::start_front(Queue& queue, int rank) {
  while (queue.active < queue.entries.size() &&
         queue.entries[queue.active].group == queue.entries[queue.front].group) {
    const std::int32_t message = queue.entries[queue.active].message;
    ++queue.active;
    ++queue.unfinished;
    start(message, channel(message).source == rank);
  }
}

void Player::start(std::int32_t message, bool is_send) {
  std::uint8_t& state = state_[at(message)];
  state |= is_send ? send_started : receive_started;
  if ((state & send_started) != 0 && (state & receive_started) != 0) {
    state |= done;
    finished_.push_back(message);
  }
}

void Player::finish(std::int32_t message) {
  const Ends& ends = ends_[at(program_.message(message).channel)];
  finish_in(ends.source);
  finish_in(ends.destination);
  for (const int rank : {channel(message).source, channel(message).destination}) {
    if (awaited_[at(rank)] == message) {
      awaited_[at(rank)] = nobody;
      ready_.push_back(rank);
    }
  }
}

void Player::finish_in(std::int32_t index) {
  Queue& queue = queues_[at(index)];
  CHECK(queue.unfinished > 0);
  if (--queue.unfinished > 0) {
    return;
  }
  queue.front = queue.active;
  if (queue.front < queue.entries.size()) {
    const Channel& next = channel(queue.entries[queue.front].message);
    const Ends& ends = ends_[at(program_.message(queue.entries[queue.front].message).channel)];
    start_front(queue, ends.source == index ? next.source : next.destination);
  }
}

// A blocked rank waits for a message. A message that is not done waits, at each end that has not
// started it, for the rank to issue it or for the group under way in front of it.
std::vector<std::int32_t> Player::waits_for(std::int32_t node) const {
  std::vector<std::int32_t> waited_for;
  const int ranks = program_.pipeline().ranks();
  if (node < ranks) {
    if (awaited_[at(node)] != nobody) {
      waited_for.push_back(node_of(awaited_[at(node)]));
    }
    return waited_for;
  }
  add_end(node - ranks, true, waited_for);
  add_end(node - ranks, false, waited_for);
  return waited_for;
}

void Player::add_end(std::int32_t message, bool is_send,
                     std::vector<std::int32_t>& waited_for) const {
  const std::uint8_t state = state_[at(message)];
  if ((state & (is_send ? send_started : receive_started)) != 0) {
    return;
  }
  if ((state & (is_send ? send_issued : receive_issued)) == 0) {
    waited_for.push_back(is_send ? channel(message).source : channel(message).destination);
    return;
  }
  const Ends& ends = ends_[at(program_.message(message).channel)];
  const Queue& queue = queues_[at(is_send ? ends.source : ends.destination)];
  for (std::size_t entry = queue.front; entry < queue.active; ++entry) {
    if ((state_[at(queue.entries[entry].message)] & done) == 0) {
      waited_for.push_back(node_of(queue.entries[entry].message));
    }
  }
}

// The shortest way from `start` back to itself, breadth first; empty if there is none.
std::vector<std::int32_t> Player::cycle_through(std::int32_t start) const {
  std::map<std::int32_t, std::int32_t> came_from;
  std::deque<std::int32_t> frontier{start};
  while (!frontier.empty()) {
    const std::int32_t node = frontier.front();
    frontier.pop_front();
    for (const std::int32_t next : waits_for(node)) {
      if (next == start) {
        std::vector<std::int32_t> cycle{node};
        while (cycle.back() != start) {
          cycle.push_back(came_from.at(cycle.back()));
        }
        std::reverse(cycle.begin(), cycle.end());
        return cycle;
      }
      if (came_from.try_emplace(next, node).second) {
        frontier.push_back(next);
      }
    }
  }
  return {};
}

std::int32_t Player::blocked_slot(int rank) const {
  const std::span<const Instruction> instructions = program_.instructions(rank);
  for (std::size_t next = next_[at(rank)]; next < instructions.size(); ++next) {
    if (instructions[next].kind == Kind::run) {
      return instructions[next].index;
    }
  }
  return nobody;
}

std::string Player::say(std::int32_t node, std::int32_t waited_for) const {
  const int ranks = program_.pipeline().ranks();
  if (node < ranks) {
    const std::int32_t message = awaited_[at(node)];
    const std::int32_t slot = blocked_slot(node);
    const bool sends = channel(message).source == node;
    return fmt::format("rank {} waits, before {}, to {} {} {} rank {}", node,
                       slot == nobody ? "its end" : to_string(program_.slots(node)[at(slot)]),
                       sends ? "send" : "receive", to_string(program_.message(message).value),
                       sends ? "to" : "from",
                       sends ? channel(message).destination : channel(message).source);
  }
  const std::int32_t message = node - ranks;
  const std::string value = to_string(program_.message(message).value);
  if (waited_for < ranks) {
    return fmt::format("rank {} has not come to {} {}", waited_for,
                       channel(message).source == waited_for ? "send" : "receive", value);
  }
  return fmt::format("on its communicator, {} is queued behind {}", value,
                     to_string(program_.message(waited_for - ranks).value));
}

Deadlock Player::shortest_cycle() const {
  const int ranks = program_.pipeline().ranks();
  std::vector<std::int32_t> shortest;
  const auto try_from = [&](std::int32_t node) {
    const std::vector<std::int32_t> cycle = cycle_through(node);
    if (!cycle.empty() && (shortest.empty() || cycle.size() < shortest.size())) {
      shortest = cycle;
    }
  };
  for (int rank = 0; rank < ranks; ++rank) {
    try_from(rank);
  }
  // Messages in shared communicators can wait for each other with no rank in between.
  for (const Queue& queue : queues_) {
    for (std::size_t entry = queue.front; entry < queue.active; ++entry) {
      try_from(node_of(queue.entries[entry].message));
    }
  }
  CHECK(!shortest.empty());  // What is stuck waits for something that is: some cycle exists.
  const std::int32_t first = shortest.front();
  const int rank = first < ranks ? first : channel(first - ranks).source;
  Deadlock deadlock{.rank = rank, .slot = blocked_slot(rank), .cycle = {}};
  for (std::size_t step = 0; step < shortest.size(); ++step) {
    deadlock.cycle.push_back(say(shortest[step], shortest[(step + 1) % shortest.size()]));
  }
  return deadlock;
}

// The same play where every channel has a communicator of its own. Both ends of a channel issue its
// messages in the same order, so counting is all it takes: as many have been transferred as both
// ends have issued. Says only whether the program completes; Player says why not.
class ChannelPlayer {
 public:
  explicit ChannelPlayer(const Program& program)
      : program_(program),
        counts_(program.channels().size()),
        next_(at(program.pipeline().ranks()), 0) {}

  bool play() {
    for (int rank = 0; rank < program_.pipeline().ranks(); ++rank) {
      ready_.push_back(rank);
    }
    std::size_t complete = 0;
    while (!ready_.empty()) {
      const int rank = ready_.back();
      ready_.pop_back();
      complete += advance(rank) ? 1 : 0;
    }
    return complete == next_.size();
  }

 private:
  struct Counts {
    std::int32_t sent = 0;
    std::int32_t received = 0;
    bool sender_waits = false;
    bool receiver_waits = false;
  };

  // True if the rank has come to its end.
  bool advance(int rank) {
    const std::span<const Instruction> instructions = program_.instructions(rank);
    for (std::size_t& next = next_[at(rank)]; next < instructions.size(); ++next) {
      const Instruction& instruction = instructions[next];
      if (instruction.kind == Kind::run || instruction.kind == Kind::end_group) {
        continue;
      }
      const Message& message = program_.message(instruction.index);
      Counts& counts = counts_[at(message.channel)];
      if (instruction.kind == Kind::send) {
        ++counts.sent;
        wake(counts.receiver_waits, program_.channel_of(message).destination);
      } else if (instruction.kind == Kind::receive) {
        ++counts.received;
        wake(counts.sender_waits, program_.channel_of(message).source);
      } else if (std::min(counts.sent, counts.received) <= message.sequence) {
        (instruction.kind == Kind::await_sent ? counts.sender_waits : counts.receiver_waits) = true;
        return false;
      }
    }
    return true;
  }

  void wake(bool& waits, int rank) {
    if (waits) {
      waits = false;
      ready_.push_back(rank);
    }
  }

  const Program& program_;
  std::vector<Counts> counts_;     // [channel]
  std::vector<std::size_t> next_;  // [rank]: instruction
  std::vector<int> ready_;         // ranks that may go on
};

}  // namespace

std::optional<Deadlock> find_deadlock(const Program& program) {
  if (program.semantics().topology == Topology::channel && ChannelPlayer(program).play()) {
    return std::nullopt;
  }
  Player player(program);
  if (player.play()) {
    return std::nullopt;
  }
  return player.shortest_cycle();
}

}  // namespace dualpipe
