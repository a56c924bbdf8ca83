#include "sim/task_graph.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "costs/check.h"
#include "costs/cost_model.h"
#include "scheduler/program.h"
#include "sim/durations.h"

namespace dualpipe {
namespace {

using Kind = Instruction::Kind;

std::size_t at(std::int32_t index) {
  return static_cast<std::size_t>(index);
}

}  // namespace

// Executes every rank as far as it can, again when a message it waits for is sent, as simulate()
// does, and notes in which order.
class TaskGraph::Builder {
 public:
  Builder(const Program& program, TaskGraph& graph)
      : graph_(graph),
        sender_(program.messages().size(), none),
        awaited_by_(program.messages().size(), none) {
    for (int rank = program.pipeline().ranks() - 1; rank >= 0; --rank) {
      ready_.push_back(rank);
    }
    for (int rank = 0; rank < program.pipeline().ranks(); ++rank) {
      ranks_.push_back({.rest = program.instructions(rank),
                        .first = static_cast<std::int32_t>(graph.first_slots_[at(rank)]),
                        .last = none,
                        .received = {}});
    }
  }

  void run() {
    while (!ready_.empty()) {
      const int rank = ready_.back();
      ready_.pop_back();
      advance(rank);
    }
    for (const Rank& rank : ranks_) {
      CHECK(rank.rest.empty());
    }
  }

 private:
  struct Rank {
    std::span<const Instruction> rest;
    std::int32_t first = 0;        // node of its slot 0
    std::int32_t last = none;      // node that it executed last
    std::vector<Source> received;  // since then
  };

  void advance(int index) {
    Rank& rank = ranks_[at(index)];
    for (; !rank.rest.empty(); rank.rest = rank.rest.subspan(1)) {
      const Instruction instruction = rank.rest.front();
      const std::int32_t message = instruction.index;
      if (instruction.kind == Kind::await_received) {
        if (sender_[at(message)] == none) {
          awaited_by_[at(message)] = index;
          return;
        }
        rank.received.push_back({.node = sender_[at(message)], .message = message});
      } else if (instruction.kind == Kind::run) {
        add_step(rank, rank.first + instruction.index);
      } else if (instruction.kind == Kind::send) {
        // A message leaves when its rank gets there, which may have waited since its last slot.
        if (!rank.received.empty()) {
          add_step(rank, static_cast<std::int32_t>(graph_.nodes_++));
        }
        sender_[at(message)] = rank.last;
        if (awaited_by_[at(message)] != none) {
          ready_.push_back(awaited_by_[at(message)]);
        }
      }
    }
  }

  void add_step(Rank& rank, std::int32_t node) {
    graph_.steps_.push_back({.node = node,
                             .previous = rank.last,
                             .messages = static_cast<std::int32_t>(rank.received.size())});
    graph_.sources_.insert(graph_.sources_.end(), rank.received.begin(), rank.received.end());
    rank.received.clear();
    rank.last = node;
  }

  TaskGraph& graph_;
  std::vector<Rank> ranks_;
  std::vector<std::int32_t> sender_;      // [message]: node, once it is sent
  std::vector<std::int32_t> awaited_by_;  // [message]: rank that waits for it
  std::vector<int> ready_;                // ranks that may go on
};

TaskGraph::TaskGraph(const Program& program) : first_slots_(dualpipe::first_slots(program)) {
  nodes_ = first_slots_.back();
  steps_.reserve(nodes_);
  sources_.reserve(program.messages().size());
  Builder(program, *this).run();
}

void TaskGraph::run(const StepDurations& durations, Times& times) const {
  CHECK(times.ends.size() == nodes_ && durations.slots.size() == first_slots_.back());
  const std::size_t slots = first_slots_.back();
  const Source* source = sources_.data();
  for (const Step& step : steps_) {
    Time begin = step.previous == none ? Time{} : times.ends[at(step.previous)];
    for (const Source* const end = source + step.messages; source != end; ++source) {
      begin =
          std::max(begin, times.ends[at(source->node)] + durations.transfers[at(source->message)]);
    }
    const std::size_t node = at(step.node);
    times.ends[node] = node < slots ? begin + durations.slots[node] : begin;
  }
}

std::vector<std::int32_t> TaskGraph::topological_slots() const {
  std::vector<std::int32_t> slots;
  slots.reserve(first_slots_.back());
  for (const Step& step : steps_) {
    if (at(step.node) < first_slots_.back()) {
      slots.push_back(step.node);
    }
  }
  return slots;
}

Time TaskGraph::last_end(const Times& times, int rank) const {
  const std::size_t begin = first_slots_[at(rank)];
  const std::size_t end = first_slots_[at(rank + 1)];
  return begin == end ? Time{} : times.ends[end - 1];
}

Time TaskGraph::makespan(const Times& times) const {
  Time latest{};
  for (int rank = 0; at(rank + 1) < first_slots_.size(); ++rank) {
    latest = std::max(latest, last_end(times, rank));
  }
  return latest;
}

}  // namespace dualpipe
