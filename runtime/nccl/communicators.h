// Which NCCL communicators a Program needs, in which order they are opened, and how many SMs they
// may hold: plain arithmetic on the Program, the same on every rank and without NCCL.
//
// A communicator runs the operations of one rank one after another, so channels share one only
// where the Program's topology says that they may. Replicas' sums have communicators of their own.
//
// Opening a communicator, and a pair's first message on it, block until the other end comes to
// them. So both are done in rounds: no rank has two in one round (an edge colouring), and every
// rank takes them in the order of rounds. Ranks that have nothing to do with each other open theirs
// at the same time, and nobody waits in a circle.

#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "runtime/transport.h"
#include "scheduler/program.h"

namespace dualpipe {

struct Communicator {
  std::string name;          // "activation 1->2", "1->2", "1<->2", "up", "world", "replicas 0<->3"
  std::vector<int> members;  // ascending; a rank's number in the communicator is its place here
};

// A pair of ranks that exchange messages on a communicator.
struct Route {
  std::size_t communicator = 0;
  int source = 0;
  int destination = 0;

  auto operator<=>(const Route&) const = default;
};

class CommunicatorPlan {
 public:
  explicit CommunicatorPlan(const Program& program);

  // In the order in which they are to be opened.
  [[nodiscard]] std::span<const Communicator> communicators() const { return communicators_; }
  // In the order in which they are to be tried.
  [[nodiscard]] std::span<const Route> routes() const { return routes_; }

  static constexpr int none = -1;
  // The index of the one that carries these messages; `none` where the Program has no such.
  [[nodiscard]] int find(int source, int destination, MessageClass message_class) const;

  // The most communicators that any one rank is a member of.
  [[nodiscard]] int most_of_a_rank() const;

 private:
  int ranks_;
  std::vector<Communicator> communicators_;
  std::vector<Route> routes_;
  std::vector<int> index_;  // [source][destination][class]
};

// Into how many of a GPU's SMs one communicator may put itself, so that all those of a rank can be
// at work together: an operation that waits for its peer holds its SMs, and one that finds none
// free would wait for those that wait. A power of two, as NCCL rounds up to one, at most 16.
// Throws Error (infeasible) when not even one SM each is left.
[[nodiscard]] int ctas_per_communicator(const CommunicatorPlan& plan, int reserved_sms);

// A GPU takes work from its process through 32 connections at most, and streams that share one wait
// for each other: a send behind a receive posted ahead, which waits for ever. So every stream is to
// have its own: three of each communicator (ours and two of NCCL's), and two that compute.
inline constexpr int gpu_connections = 32;
// Throws Error (infeasible) saying how many communicators a rank may have, and the remedy.
void check_connections(const CommunicatorPlan& plan);

// NCCL starts the operations of a group together, but not many at once; more than this, and the
// Program's proof, for which they are under way together, does not hold.
inline constexpr int group_operations_max = 8;
// Throws Error (infeasible) naming the rank when the Program has a larger group.
void check_group_sizes(const Program& program);

}  // namespace dualpipe
