#include "runtime/nccl/communicators.h"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <map>
#include <numeric>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include <fmt/core.h>

#include "costs/error.h"
#include "runtime/transport.h"
#include "scheduler/op.h"
#include "scheduler/pipeline.h"
#include "scheduler/program.h"

namespace dualpipe {
namespace {

constexpr int ctas_max = 16;  // beyond it a point-to-point transfer gains nothing
constexpr std::size_t message_classes = 3;
constexpr int computing_streams = 2;
constexpr int streams_of_communicator = 3;

std::size_t at(int index) {
  return static_cast<std::size_t>(index);
}

MessageClass class_of(ValueKind kind) {
  return kind == ValueKind::activation ? MessageClass::activation : MessageClass::gradient;
}

std::vector<int> both(int one, int other) {
  return {std::min(one, other), std::max(one, other)};
}

std::vector<int> all_ranks(int ranks) {
  std::vector<int> all(at(ranks));
  std::iota(all.begin(), all.end(), 0);
  return all;
}

Communicator communicator_for(const Channel& channel, const Program& program) {
  const auto& [source, destination, kind] = channel;
  switch (program.semantics().topology) {
    case Topology::channel:
      return {.name = to_string(channel), .members = both(source, destination)};
    case Topology::edge:
      return {.name = fmt::format("{}->{}", source, destination),
              .members = both(source, destination)};
    case Topology::pair: {
      const std::vector<int> members = both(source, destination);
      return {.name = fmt::format("{}<->{}", members[0], members[1]), .members = members};
    }
    case Topology::direction:
      return {.name = source < destination ? "up" : "down",
              .members = all_ranks(program.pipeline().ranks())};
    case Topology::world:
      break;
  }
  return {.name = "world", .members = all_ranks(program.pipeline().ranks())};
}

// Pairs of ranks, the lower one first, that hold the same stage for the two directions.
std::set<std::pair<int, int>> replica_pairs(const Pipeline& pipeline) {
  std::set<std::pair<int, int>> pairs;
  if (pipeline.placement.directions() == 2) {
    for (int stage = 0; stage < pipeline.stages(); ++stage) {
      const int one = pipeline.placement.rank_of_stage[0][at(stage)];
      const int other = pipeline.placement.rank_of_stage[1][at(stage)];
      if (one != other) {
        pairs.emplace(std::min(one, other), std::max(one, other));
      }
    }
  }
  return pairs;
}

// For each of `meetings`, lists of ranks, the first round in which all of them are free.
std::vector<int> rounds_of(std::span<const std::vector<int>> meetings, int ranks) {
  std::vector<std::set<int>> taken(at(ranks));  // [rank]: rounds
  std::vector<int> rounds;
  for (const std::vector<int>& meeting : meetings) {
    int round = 0;
    while (
        std::ranges::any_of(meeting, [&](int rank) { return taken[at(rank)].contains(round); })) {
      ++round;
    }
    for (const int rank : meeting) {
      taken[at(rank)].insert(round);
    }
    rounds.push_back(round);
  }
  return rounds;
}

// The order of `rounds`, and of their places within a round.
std::vector<std::size_t> order_of(const std::vector<int>& rounds) {
  std::vector<std::size_t> order(rounds.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, {}, [&](std::size_t place) { return rounds[place]; });
  return order;
}

}  // namespace

CommunicatorPlan::CommunicatorPlan(const Program& program)
    : ranks_(program.pipeline().ranks()), index_(at(ranks_) * at(ranks_) * message_classes, none) {
  std::vector<Communicator> found;
  std::vector<Route> routes;
  const auto enter = [&](int source, int destination, MessageClass message_class,
                         std::size_t communicator) {
    index_[(at(source) * at(ranks_) + at(destination)) * message_classes +
           static_cast<std::size_t>(message_class)] = static_cast<int>(communicator);
    routes.push_back({.communicator = communicator, .source = source, .destination = destination});
  };

  std::map<std::pair<int, int>, std::size_t> shared;  // communicator_of() -> place in `found`
  for (std::size_t index = 0; index < program.channels().size(); ++index) {
    const Channel& channel = program.channels()[index];
    const auto [place, is_new] = shared.emplace(
        communicator_of(channel, static_cast<std::int32_t>(index), program.semantics().topology),
        found.size());
    if (is_new) {
      found.push_back(communicator_for(channel, program));
    }
    enter(channel.source, channel.destination, class_of(channel.kind), place->second);
  }
  for (const auto& [one, other] : replica_pairs(program.pipeline())) {
    enter(one, other, MessageClass::replica, found.size());
    enter(other, one, MessageClass::replica, found.size());
    found.push_back({.name = fmt::format("replicas {}<->{}", one, other), .members = {one, other}});
  }

  std::vector<std::vector<int>> meetings;
  for (const Communicator& communicator : found) {
    meetings.push_back(communicator.members);
  }
  std::vector<int> new_place(found.size());
  for (const std::size_t place : order_of(rounds_of(meetings, ranks_))) {
    new_place[place] = static_cast<int>(communicators_.size());
    communicators_.push_back(std::move(found[place]));
  }
  for (int& place : index_) {
    place = place == none ? none : new_place[at(place)];
  }
  for (Route& route : routes) {
    route.communicator = at(new_place[route.communicator]);
  }

  // Two kinds of message may take the same way.
  std::ranges::sort(routes);
  routes.erase(std::unique(routes.begin(), routes.end()), routes.end());
  meetings.clear();
  for (const Route& route : routes) {
    meetings.push_back({route.source, route.destination});
  }
  for (const std::size_t place : order_of(rounds_of(meetings, ranks_))) {
    routes_.push_back(routes[place]);
  }
}

int CommunicatorPlan::find(int source, int destination, MessageClass message_class) const {
  return index_[(at(source) * at(ranks_) + at(destination)) * message_classes +
                static_cast<std::size_t>(message_class)];
}

int CommunicatorPlan::most_of_a_rank() const {
  std::vector<int> counts(at(ranks_), 0);
  for (const Communicator& communicator : communicators_) {
    for (const int member : communicator.members) {
      ++counts[at(member)];
    }
  }
  return counts.empty() ? 0 : *std::ranges::max_element(counts);
}

int ctas_per_communicator(const CommunicatorPlan& plan, int reserved_sms) {
  const int communicators = std::max(1, plan.most_of_a_rank());
  if (reserved_sms < communicators) {
    throw Error(ExitCode::infeasible,
                fmt::format("a rank has {} NCCL communicators that may all be at work at once, "
                            "each on an SM at least, but {} SMs are reserved for them; expected "
                            "--reserved-sms {} or more",
                            communicators, reserved_sms, communicators));
  }
  const auto share = static_cast<unsigned>(reserved_sms / communicators);
  return std::min(ctas_max, static_cast<int>(std::bit_floor(share)));
}

void check_connections(const CommunicatorPlan& plan) {
  constexpr int most = (gpu_connections - computing_streams) / streams_of_communicator;
  if (const int communicators = plan.most_of_a_rank(); communicators > most) {
    throw Error(
        ExitCode::infeasible,
        fmt::format("a rank has {} NCCL communicators, but a GPU has connections for {} that "
                    "do not wait for each other; use a schedule or a placement that gives "
                    "a rank fewer neighbours, or compile for a topology whose channels "
                    "share communicators",
                    communicators, most));
  }
}

void check_group_sizes(const Program& program) {
  if (!program.semantics().grouped) {
    return;
  }
  for (int rank = 0; rank < program.pipeline().ranks(); ++rank) {
    int operations = 0;
    for (const Instruction& instruction : program.instructions(rank)) {
      if (instruction.kind == Instruction::Kind::end_group) {
        operations = 0;
      } else if (instruction.kind == Instruction::Kind::send ||
                 instruction.kind == Instruction::Kind::receive) {
        ++operations;
      }
      if (operations > group_operations_max) {
        throw Error(ExitCode::infeasible,
                    fmt::format("rank {} has more than {} operations in one group, which NCCL "
                                "does not start together; use a topology without groups",
                                rank, group_operations_max));
      }
    }
  }
}

}  // namespace dualpipe
