#include "tests/support/longest_path.h"

#include <cstddef>
#include <map>
#include <utility>
#include <vector>

#include "costs/cost_model.h"
#include "scheduler/op.h"
#include "scheduler/schedule.h"
#include "trace/timeline.h"

namespace dualpipe {
namespace {

using Node = std::pair<std::size_t, std::size_t>;  // rank, slot

struct Edge {
  Node from;
  Node to;
  Time delay{};
};

Time duration_of(const Slot& slot, const CostModel& costs) {
  const auto stage_of = [&](const Op& op) {
    return costs.stages[static_cast<std::size_t>(op.stage)];
  };
  if (slot.is_pair()) {
    return overlapped_time(stage_of(slot.front()), stage_of(slot.back()));
  }
  const StageCosts stage = stage_of(slot.front());
  const std::map<OpKind, Time> durations{{OpKind::forward, stage.forward},
                                         {OpKind::backward, stage.backward()},
                                         {OpKind::backward_input, stage.backward_input},
                                         {OpKind::backward_weight, stage.backward_weight}};
  return durations.at(slot.front().kind);
}

std::map<Value, Node> writers_of(const Schedule& schedule) {
  std::map<Value, Node> writers;
  for (std::size_t rank = 0; rank < schedule.ranks.size(); ++rank) {
    for (std::size_t slot = 0; slot < schedule.ranks[rank].size(); ++slot) {
      for (const Op& op : schedule.ranks[rank][slot]) {
        for (const Value& value : writes(op)) {
          writers[value] = {rank, slot};
        }
      }
    }
  }
  return writers;
}

std::vector<Edge> edges_of(const Schedule& schedule, Time p2p) {
  const std::map<Value, Node> writers = writers_of(schedule);
  std::vector<Edge> edges;
  for (std::size_t rank = 0; rank < schedule.ranks.size(); ++rank) {
    for (std::size_t slot = 0; slot < schedule.ranks[rank].size(); ++slot) {
      if (slot > 0) {
        edges.push_back({.from = {rank, slot - 1}, .to = {rank, slot}, .delay = Time{}});
      }
      for (const Op& op : schedule.ranks[rank][slot]) {
        for (const Value& value : reads(op, schedule.pipeline.stages())) {
          const Node writer = writers.at(value);
          edges.push_back(
              {.from = writer, .to = {rank, slot}, .delay = writer.first == rank ? Time{} : p2p});
        }
      }
    }
  }
  return edges;
}

}  // namespace

std::vector<std::vector<Span>> longest_path(const Schedule& schedule, const CostModel& costs) {
  std::vector<std::vector<Span>> ranks;
  for (const std::vector<Slot>& slots : schedule.ranks) {
    std::vector<Span>& spans = ranks.emplace_back();
    for (const Slot& slot : slots) {
      spans.push_back({.slot = slot, .begin = Time{}, .end = duration_of(slot, costs)});
    }
  }
  const std::vector<Edge> edges = edges_of(schedule, costs.p2p);
  for (bool changed = true; changed;) {
    changed = false;
    for (const Edge& edge : edges) {
      Span& later = ranks[edge.to.first][edge.to.second];
      const Time earliest = ranks[edge.from.first][edge.from.second].end + edge.delay;
      if (later.begin < earliest) {
        later.begin = earliest;
        later.end = earliest + duration_of(later.slot, costs);
        changed = true;
      }
    }
  }
  return ranks;
}

}  // namespace dualpipe
