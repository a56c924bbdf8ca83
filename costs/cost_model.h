// What things cost: the time of every kind of op at every stage, the time of one boundary transfer,
// and the bytes an activation keeps alive. Engines take a CostModel; people write a CostConfig,
// which says the same in the units they think in, and resolve_costs() turns one into the other.

#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "costs/config_check.h"

namespace dualpipe {

// All times in this project are whole nanoseconds, so that sums are exact and outputs reproducible.
using Time = std::chrono::nanoseconds;

// Bytes that a stage keeps on its rank: the first three for every microbatch under way, the others
// all the time, once for every rank that the stage is on.
struct StageBytes {
  std::int64_t activation = 0;       // from the begin of F to the end of B or I
  std::int64_t weight_operands = 0;  // from the end of I to the end of W
  std::int64_t logits = 0;    // as activation; of the last stage, beside what its layers keep
  std::int64_t boundary = 0;  // of one message to or from a neighbour: a receive buffer
  std::int64_t weights = 0;
  std::int64_t gradients = 0;
  std::int64_t optimizer = 0;

  bool operator==(const StageBytes&) const = default;
};

// What a rank does for a stage at the end of a step, in this order. A reduction may begin when the
// stage's last weight gradient of the step is there; the optimizer waits for all ranks' gradients
// (CostModel::gradient_norm).
struct StageTail {
  Time replica_reduce{};    // adding the gradients of the two replicas of a bidirectional pipeline
  Time gradient_reduce{};   // reduce-scatter, or all-reduce, over the data-parallel group
  Time optimizer{};         // the update itself
  Time parameter_gather{};  // all-gather of updated parameters, where the optimizer is sharded

  bool operator==(const StageTail&) const = default;
};

struct StageCosts {
  Time forward{};
  Time backward_input{};
  Time backward_weight{};
  Time overlapped{};  // one forward overlapped with one full backward, both of this stage
  StageBytes bytes{};
  StageTail tail{};

  [[nodiscard]] Time backward() const { return backward_input + backward_weight; }

  bool operator==(const StageCosts&) const = default;
};

// A way between two ranks, without other traffic on it.
struct Link {
  Time latency{};  // of a message, whatever its size
  Time busy{};     // bytes / bandwidth: how long one message keeps the link to itself

  [[nodiscard]] Time time() const { return latency + busy; }
  bool operator==(const Link&) const = default;
};

struct CostModel {
  std::vector<StageCosts> stages;
  // One boundary transfer between two ranks, activation or gradient alike; and how much of it is
  // latency. Neighbours in one node have the other pair.
  Time p2p{};
  Time p2p_latency{};
  Time p2p_in_node{};
  Time p2p_in_node_latency{};
  int ranks_per_node = 1;  // ranks n * k .. n * k + n - 1 share a node
  Time gradient_norm{};    // from the last rank's gradients to every rank's optimizer
  // The optimizer begins before the norm is known and is undone in the rare step in which it must
  // (Qi et al., "Zero Bubble Pipeline Parallelism", ICLR 2024, section 4): no rank waits.
  bool post_validation = false;

  [[nodiscard]] bool is_in_node(int source, int destination) const {
    return source / ranks_per_node == destination / ranks_per_node;
  }
  [[nodiscard]] Link link(int source, int destination) const {
    return is_in_node(source, destination)
               ? Link{.latency = p2p_in_node_latency, .busy = p2p_in_node - p2p_in_node_latency}
               : Link{.latency = p2p_latency, .busy = p2p - p2p_latency};
  }
  // Of one message between two ranks that nothing holds up. Requires: source != destination.
  [[nodiscard]] Time transfer(int source, int destination) const {
    return link(source, destination).time();
  }
  bool operator==(const CostModel&) const = default;
};

// The time of a forward at one stage overlapped with a full backward at another. Each stage brings
// half of what overlapping it with itself would save; a pair never ends before its longer half.
[[nodiscard]] Time overlapped_time(const StageCosts& forward_stage,
                                   const StageCosts& backward_stage);

// A value of the config: one number, or a list with one number per stage. `where` names the place
// it was read from ("bench.toml:7:11") for error messages; empty for a default.
struct CostValue {
  std::vector<double> values;
  std::string where;

  CostValue(double value) : values{value} {}  // NOLINT(google-explicit-constructor): reads as one
  CostValue(std::vector<double> list, std::string place)
      : values(std::move(list)), where(std::move(place)) {}

  bool operator==(const CostValue& other) const { return values == other.values; }
};

// A value of the config that is one number whatever the stages; `where` as above. Where leaving it
// out means something of its own, it is optional.
struct CostNumber {
  double value = 0.0;
  std::string where{};

  CostNumber(double number) : value(number) {}  // NOLINT(google-explicit-constructor): reads as one
  CostNumber(double number, std::string place) : value(number), where(std::move(place)) {}

  bool operator==(const CostNumber& other) const { return value == other.value; }
};

inline constexpr std::array<std::string_view, 4> cost_units{"ns", "us", "ms", "s"};
inline constexpr std::array<std::string_view, 2> cost_shares{"rank", "stage"};

// The [costs] table of a config; design: every key optional, these are the defaults.
struct CostConfig {
  std::string unit = "ms";   // of cost_units
  std::string per = "rank";  // "rank": numbers are for a rank's 1/P share of the model, so a stage
                             // costs P/S of them; "stage": numbers are for one stage as it is
  CostValue forward = 1.0;
  CostValue backward_input = 1.0;
  CostValue backward_weight = 1.0;
  std::optional<CostValue> overlapped;  // default: forward + backward_input + backward_weight
  // Transfers, the logits and the boundary's bytes are never divided: a boundary is as wide at any
  // depth. The bytes of the others are scaled like the times.
  std::optional<CostNumber> p2p;          // default: 0
  std::optional<CostNumber> p2p_latency;  // how much of p2p is latency; default: all of it
  std::optional<CostNumber> p2p_in_node;  // default: p2p
  std::optional<CostNumber> p2p_in_node_latency;
  int ranks_per_node = 0;  // default: 1
  CostValue activation_bytes = 0.0;
  CostValue weight_operand_bytes = 0.0;
  std::optional<CostNumber> logits_bytes;  // of the last stage; default: 0
  CostValue boundary_bytes = 0.0;
  CostValue weight_bytes = 0.0;
  CostValue gradient_bytes = 0.0;
  CostValue optimizer_bytes = 0.0;
  // The end of the step; see StageTail.
  CostValue replica_reduce = 0.0;
  CostValue gradient_reduce = 0.0;
  CostValue optimizer = 0.0;
  CostValue parameter_gather = 0.0;
  std::optional<CostNumber> gradient_norm;  // default: 0
  bool post_validation = false;

  bool operator==(const CostConfig&) const = default;
};

// What a whole number of the config may be.
struct CostRanges {
  static constexpr NumberRange ranks_per_node{.largest = 100'000};
};

// Requires: ranks > 0 and stages > 0. Throws Error (usage): unknown unit or `per`, a list whose
// length is not the number of stages, a negative or non-finite number, a time beyond what an int64
// of nanoseconds holds for a whole step, or an overlapped time shorter than the longer of its
// halves.
[[nodiscard]] CostModel resolve_costs(const CostConfig& config, int ranks, int stages);

// `derived`, and in it whatever the config sets: a value that is read from somewhere (where), or an
// optional one that is there. A stage's overlapped time, where it is not set but its halves are,
// keeps its ratio to their sum; a transfer that is set keeps the derived latency. Throws as above.
[[nodiscard]] CostModel override_costs(CostModel derived, const CostConfig& config, int ranks);

// Throws Error (usage) where the times or bytes of a step with so many microbatches, all added up,
// are more than 64 bits hold.
void require_step_fits(const CostModel& costs, int microbatches);

}  // namespace dualpipe
