#include "scheduler/deadlock.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "costs/check.h"
#include "scheduler/compile.h"
#include "scheduler/play.h"
#include "scheduler/program.h"
#include "scheduler/schedule.h"

namespace dualpipe {
namespace {

using Operation = Play::Operation;

// Something that is stuck: an operation, or (transfer none) a rank.
struct Node {
  int rank = 0;  // of an operation the rank whose end it is
  Operation operation{.transfer = Play::none};

  [[nodiscard]] bool is_rank() const { return operation.transfer == Play::none; }
  auto operator<=>(const Node&) const = default;
};

// Explains a play that has stopped. Every wait below is for something that must happen before what
// waits; only a send without room could also do with its own receive, but that comes after the
// receive that would make room. So whatever is stuck waits for something stuck, and a cycle exists.
class Explanation {
 public:
  Explanation(const Program& program, const Play& play) : program_(program), play_(play) {}

  [[nodiscard]] std::vector<Node> shortest_cycle() const;
  [[nodiscard]] Deadlock tell(const std::vector<Node>& cycle) const;

 private:
  struct Sentence {
    int rank = 0;  // its subject
    std::string predicate;
  };
  [[nodiscard]] std::vector<Node> waits_for(const Node& node) const;
  void add_start(const Operation& operation, std::vector<Node>& waited_for) const;
  [[nodiscard]] std::vector<Node> cycle_through(const Node& start) const;
  [[nodiscard]] std::optional<Sentence> say(const Node& node, const Node& waited_for) const;
  [[nodiscard]] int blocked_slot(int rank) const;
  [[nodiscard]] std::string value_of(const Operation& operation) const;
  // "send 1F3's output to rank 2".
  [[nodiscard]] std::string deed(const Operation& operation) const;
  [[nodiscard]] Node node_of(const Operation& operation) const {
    return {.rank = play_.rank_of(operation), .operation = operation};
  }

  const Program& program_;
  const Play& play_;
};

std::vector<Node> Explanation::waits_for(const Node& node) const {
  std::vector<Node> waited_for;
  if (node.is_rank()) {
    if (play_.next(node.rank) < program_.instructions(node.rank).size()) {
      waited_for.push_back(node_of(play_.awaited(node.rank)));
    }
    return waited_for;
  }
  const Operation& operation = node.operation;
  if (!play_.is_started(operation)) {
    add_start(operation, waited_for);
    return waited_for;
  }
  // At most one of these two: nobody waits for room who has his receiver.
  const std::int32_t room = play_.room_for(operation.transfer);
  if (operation.is_send && room != operation.transfer) {
    waited_for.push_back(node_of({room, false}));
  } else {
    waited_for.push_back(node_of({operation.transfer, !operation.is_send}));
  }
  return waited_for;
}

// What keeps an operation from starting: its rank has not issued it, or the group under way in
// front of it is not done.
void Explanation::add_start(const Operation& operation, std::vector<Node>& waited_for) const {
  if (!play_.is_issued(operation)) {
    waited_for.push_back({.rank = play_.rank_of(operation)});
    return;
  }
  const Play::Queue& queue = play_.queue_of(operation);
  for (std::size_t entry = queue.front; entry < queue.started; ++entry) {
    if (!play_.is_done(queue.entries[entry].operation)) {
      waited_for.push_back(node_of(queue.entries[entry].operation));
    }
  }
}

// The shortest way from `start` back to itself, breadth first; empty if there is none.
std::vector<Node> Explanation::cycle_through(const Node& start) const {
  std::map<Node, Node> came_from;
  std::deque<Node> frontier{start};
  while (!frontier.empty()) {
    const Node node = frontier.front();
    frontier.pop_front();
    for (const Node& next : waits_for(node)) {
      if (next == start) {
        std::vector<Node> cycle{node};
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

// Every cycle goes through a rank or through an operation under way, of which there are few: what
// is queued behind others waits for these, and what is not issued for its rank.
std::vector<Node> Explanation::shortest_cycle() const {
  std::vector<Node> shortest;
  const auto try_from = [&](const Node& node) {
    const std::vector<Node> cycle = cycle_through(node);
    if (!cycle.empty() && (shortest.empty() || cycle.size() < shortest.size())) {
      shortest = cycle;
    }
  };
  for (int rank = 0; rank < program_.pipeline().ranks(); ++rank) {
    try_from({.rank = rank});
  }
  for (const Play::Queue& queue : play_.queues()) {
    for (std::size_t entry = queue.front; entry < queue.started; ++entry) {
      if (!play_.is_done(queue.entries[entry].operation)) {
        try_from(node_of(queue.entries[entry].operation));
      }
    }
  }
  CHECK(!shortest.empty());
  return shortest;
}

int Explanation::blocked_slot(int rank) const {
  const std::span<const Instruction> instructions = program_.instructions(rank);
  for (std::size_t next = play_.next(rank); next < instructions.size(); ++next) {
    if (instructions[next].kind == Instruction::Kind::run) {
      return instructions[next].index;
    }
  }
  return -1;
}

std::string Explanation::value_of(const Operation& operation) const {
  return name_of(program_.message(play_.message_of(operation)).value, program_.schedule());
}

std::string Explanation::deed(const Operation& operation) const {
  return fmt::format("{} {} {} rank {}", operation.is_send ? "send" : "receive",
                     value_of(operation), operation.is_send ? "to" : "from",
                     play_.peer_of(operation));
}

// Nothing where the sentence before has said it all.
std::optional<Explanation::Sentence> Explanation::say(const Node& node,
                                                      const Node& waited_for) const {
  if (node.is_rank()) {
    const int slot = blocked_slot(node.rank);
    const std::string where =
        slot < 0 ? "its end" : to_string(program_.slots(node.rank)[static_cast<std::size_t>(slot)]);
    return Sentence{
        .rank = node.rank,
        .predicate = fmt::format("waits, before {}, to {}", where, deed(waited_for.operation))};
  }
  if (waited_for.is_rank() || node.operation.transfer == waited_for.operation.transfer) {
    return std::nullopt;
  }
  if (!play_.is_started(node.operation)) {
    return Sentence{.rank = node.rank,
                    .predicate = fmt::format("cannot {}: on that communicator it must first {}",
                                             deed(node.operation), deed(waited_for.operation))};
  }
  return Sentence{.rank = node.rank,
                  .predicate = fmt::format("has no buffer left to {}, which has not received {}",
                                           deed(node.operation), value_of(waited_for.operation))};
}

// The cycle begins where there is something to say; a sentence whose subject the one before has
// named as its peer follows as ", which ..".
Deadlock Explanation::tell(const std::vector<Node>& cycle) const {
  std::vector<Sentence> sentences;
  Deadlock deadlock;
  for (std::size_t step = 0; step < cycle.size(); ++step) {
    const std::optional<Sentence> sentence = say(cycle[step], cycle[(step + 1) % cycle.size()]);
    if (sentence) {
      sentences.push_back(*sentence);
      const RankSlot stuck{.rank = sentence->rank, .slot = blocked_slot(sentence->rank)};
      if (std::find(deadlock.stuck.begin(), deadlock.stuck.end(), stuck) == deadlock.stuck.end()) {
        deadlock.stuck.push_back(stuck);
      }
    }
  }
  CHECK(!sentences.empty());
  for (const Sentence& sentence : sentences) {
    deadlock.cycle.push_back(fmt::format("rank {} {}", sentence.rank, sentence.predicate));
    const bool follows = deadlock.story.ends_with(fmt::format("rank {}", sentence.rank));
    deadlock.story += deadlock.story.empty() ? "" : follows ? ", which " : "; ";
    deadlock.story += follows ? sentence.predicate : deadlock.cycle.back();
  }
  return deadlock;
}

}  // namespace

std::optional<Deadlock> find_deadlock(const Program& program) {
  Play play(program);
  if (play.complete()) {
    return std::nullopt;
  }
  const Explanation explanation(program, play);
  Deadlock deadlock = explanation.tell(explanation.shortest_cycle());
  while (!play.complete() && play.raise_buffering()) {
  }
  if (play.complete()) {
    deadlock.smallest_buffering = play.buffering();
  }
  return deadlock;
}

}  // namespace dualpipe
