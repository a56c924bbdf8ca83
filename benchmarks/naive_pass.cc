#include "benchmarks/naive_pass.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <vector>

#include "scheduler/op.h"

namespace dualpipe {
namespace {

constexpr Time not_yet{-1};

// When each value was written, and where.
class Written {
 public:
  explicit Written(const Pipeline& pipeline)
      : microbatches_(static_cast<std::size_t>(pipeline.microbatches())) {
    for (auto& times : times_) {
      times.assign(static_cast<std::size_t>(pipeline.stages()) * microbatches_, not_yet);
    }
  }
  [[nodiscard]] Time& at(const Value& value) {
    return times_[static_cast<std::size_t>(value.kind)]
                 [static_cast<std::size_t>(value.stage) * microbatches_ +
                  static_cast<std::size_t>(value.microbatch)];
  }

 private:
  std::size_t microbatches_;
  std::array<std::vector<Time>, 3> times_;
};

Time duration(const Slot& slot, const CostModel& costs) {
  const StageCosts& stage = costs.stages[static_cast<std::size_t>(slot.front().stage)];
  if (slot.is_pair()) {
    return overlapped_time(stage, costs.stages[static_cast<std::size_t>(slot.back().stage)]);
  }
  switch (slot.front().kind) {
    case OpKind::forward:
      return stage.forward;
    case OpKind::backward:
      return stage.backward();
    case OpKind::backward_input:
      return stage.backward_input;
    case OpKind::backward_weight:
      return stage.backward_weight;
  }
  return Time{};
}

// When all that the slot reads is there; not_yet if it is not.
Time ready(const Slot& slot, int rank, const Pipeline& pipeline, Written& written, Time p2p) {
  Time latest{};
  for (const Op& op : slot) {
    for (const Value& value : reads(op, pipeline.stages())) {
      const Time time = written.at(value);
      if (time == not_yet) {
        return not_yet;
      }
      const bool here = pipeline.rank_of(value.stage, value.microbatch) == rank;
      latest = std::max(latest, time + (here ? Time{} : p2p));
    }
  }
  return latest;
}

struct Edge {
  std::size_t to = 0;
  Time delay{};
};

struct Node {
  Time duration{};
  Time begin{};
  int rank = 0;
  int waits_for = 0;
  std::vector<Edge> next;
};

std::vector<Node> graph_of(const Schedule& schedule, const CostModel& costs) {
  const Pipeline& pipeline = schedule.pipeline;
  const std::size_t microbatches = static_cast<std::size_t>(pipeline.microbatches());
  std::vector<Node> nodes;
  std::array<std::vector<std::size_t>, 3> writer;  // [kind][stage][microbatch]: node
  for (auto& of_kind : writer) {
    of_kind.resize(static_cast<std::size_t>(pipeline.stages()) * microbatches);
  }
  const auto writer_of = [&](const Value& value) -> std::size_t& {
    return writer[static_cast<std::size_t>(value.kind)]
                 [static_cast<std::size_t>(value.stage) * microbatches +
                  static_cast<std::size_t>(value.microbatch)];
  };
  for (std::size_t rank = 0; rank < schedule.ranks.size(); ++rank) {
    for (const Slot& slot : schedule.ranks[rank]) {
      for (const Op& op : slot) {
        for (const Value& value : writes(op)) {
          writer_of(value) = nodes.size();
        }
      }
      nodes.push_back({.duration = duration(slot, costs),
                       .begin = Time{},
                       .rank = static_cast<int>(rank),
                       .waits_for = 0,
                       .next = {}});
    }
  }
  std::size_t node = 0;
  for (const std::vector<Slot>& slots : schedule.ranks) {
    for (std::size_t slot = 0; slot < slots.size(); ++slot, ++node) {
      if (slot > 0) {
        nodes[node - 1].next.push_back({.to = node, .delay = Time{}});
        ++nodes[node].waits_for;
      }
      for (const Op& op : slots[slot]) {
        for (const Value& value : reads(op, pipeline.stages())) {
          Node& from = nodes[writer_of(value)];
          from.next.push_back(
              {.to = node, .delay = from.rank == nodes[node].rank ? Time{} : costs.p2p});
          ++nodes[node].waits_for;
        }
      }
    }
  }
  return nodes;
}

}  // namespace

Time naive_sweep(const Schedule& schedule, const CostModel& costs) {
  Written written(schedule.pipeline);
  std::vector<std::size_t> next(schedule.ranks.size(), 0);
  std::vector<Time> clock(schedule.ranks.size(), Time{});
  for (bool progress = true; progress;) {
    progress = false;
    for (std::size_t rank = 0; rank < next.size(); ++rank) {
      const std::vector<Slot>& slots = schedule.ranks[rank];
      for (; next[rank] < slots.size(); ++next[rank]) {
        const Slot& slot = slots[next[rank]];
        const Time begin =
            ready(slot, static_cast<int>(rank), schedule.pipeline, written, costs.p2p);
        if (begin == not_yet) {
          break;
        }
        clock[rank] = std::max(clock[rank], begin) + duration(slot, costs);
        for (const Op& op : slot) {
          for (const Value& value : writes(op)) {
            written.at(value) = clock[rank];
          }
        }
        progress = true;
      }
    }
  }
  return *std::max_element(clock.begin(), clock.end());
}

Time naive_topological_pass(const Schedule& schedule, const CostModel& costs) {
  std::vector<Node> nodes = graph_of(schedule, costs);
  std::vector<std::size_t> ready;
  for (std::size_t node = 0; node < nodes.size(); ++node) {
    if (nodes[node].waits_for == 0) {
      ready.push_back(node);
    }
  }
  Time makespan{};
  while (!ready.empty()) {
    const Node& node = nodes[ready.back()];
    ready.pop_back();
    const Time end = node.begin + node.duration;
    makespan = std::max(makespan, end);
    for (const Edge& edge : node.next) {
      nodes[edge.to].begin = std::max(nodes[edge.to].begin, end + edge.delay);
      if (--nodes[edge.to].waits_for == 0) {
        ready.push_back(edge.to);
      }
    }
  }
  return makespan;
}

}  // namespace dualpipe
