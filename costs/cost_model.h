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

namespace dualpipe {

// All times in this project are whole nanoseconds, so that sums are exact and outputs reproducible.
using Time = std::chrono::nanoseconds;

struct StageCosts {
  Time forward{};
  Time backward_input{};
  Time backward_weight{};
  Time overlapped{};  // one forward overlapped with one full backward, both of this stage
  std::int64_t activation_bytes = 0;      // what a forward keeps until its backward
  std::int64_t weight_operand_bytes = 0;  // what an input-gradient half keeps for its weight half

  [[nodiscard]] Time backward() const { return backward_input + backward_weight; }

  bool operator==(const StageCosts&) const = default;
};

struct CostModel {
  std::vector<StageCosts> stages;
  Time p2p{};  // one boundary transfer between two ranks, activation or gradient alike

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
  std::optional<CostValue> overlapped;   // default: forward + backward_input + backward_weight
  double p2p = 0.0;                      // never divided: a boundary is as wide at any depth
  CostValue activation_bytes = 0.0;      // bytes; scaled like the times
  CostValue weight_operand_bytes = 0.0;  // bytes; scaled like the times

  bool operator==(const CostConfig&) const = default;
};

// Requires: ranks > 0 and stages > 0. Throws Error (usage): unknown unit or `per`, a list whose
// length is not the number of stages, a negative or non-finite number, a time beyond what an int64
// of nanoseconds holds for a whole step, or an overlapped time shorter than the longer of its
// halves.
[[nodiscard]] CostModel resolve_costs(const CostConfig& config, int ranks, int stages);

// Throws Error (usage) where the times or bytes of a step with so many microbatches, all added up,
// are more than 64 bits hold.
void require_step_fits(const CostModel& costs, int microbatches);

}  // namespace dualpipe
