// The table of schedule families. A family is a row: a generator function, what it requires of the
// shape, and what is known of it in closed form. To add one, write generators/<name>.cc, declare it
// in generators/families.h and add a row to generate.cc.

#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "costs/cost_model.h"
#include "scheduler/communication.h"
#include "scheduler/memory.h"
#include "scheduler/pipeline.h"
#include "scheduler/schedule.h"

namespace dualpipe {

// What the user asks of a family.
struct Shape {
  int ranks = 0;
  int microbatches = 0;
  int chunks = 1;  // stages per rank, where the family lets you choose; others ignore it
};

// What a cost-aware family arranges its schedule for.
struct Target {
  CostModel costs;                    // one entry per stage of the family's placement
  std::optional<MemoryLimit> memory;  // of every rank; none: what the family is known for
  // Ops that may be timed while the order is improved: more make a better schedule, later. The
  // result depends on this number, never on how fast the machine is.
  std::int64_t effort = effort_default;

  static constexpr std::int64_t effort_default = 30'000'000;
};

// What is known of a family without simulating it, for stages of equal cost.
struct ClosedForm {
  std::optional<Time> step_time = std::nullopt;  // makespan; none where no exact formula is known
  std::optional<Time> longest_rank_time =
      std::nullopt;  // likewise; what the zero-bubble papers quote
  std::optional<int> peak_activations = std::nullopt;  // the most stage activations alive on one
                                                       // rank, F begin to W end
};

struct Family {
  std::string_view name;
  std::string_view summary;
  std::string_view source;             // paper or repository
  std::string_view requirement;        // in words, quoted by `list` and by every refusal
  std::string_view step_time_formula;  // in the symbols of docs/formats.md, quoted by `list`
  bool (*supports)(const Shape&);
  // The functions below require supports(shape).
  Placement (*placement)(const Shape&);
  // One of two: the order of every rank, which follows from the shape alone ...
  RankOrders (*order)(const Shape&) = nullptr;
  // ... or which is arranged for the costs and the memory there is. Throws Error (infeasible)
  // naming the least memory that the family can do with.
  RankOrders (*arrange)(const Shape&, const Target&) = nullptr;
  // `stage` is the cost of every stage.
  ClosedForm (*closed_form)(const Shape& shape, const StageCosts& stage, Time p2p);
  // The grouped sends and receives of the family's reference implementation, where it has its own
  // order; otherwise null. Empty for shapes that it does not run.
  CommunicationOrder (*reference_communication)(const Shape&) = nullptr;

  [[nodiscard]] bool cost_aware() const { return arrange != nullptr; }
};

// Sorted by name.
[[nodiscard]] std::span<const Family* const> families();

// Throws Error (usage) naming the nearest name when there is no such family.
[[nodiscard]] const Family& find_family(std::string_view name);

// Throws Error (usage) when the family does not support the shape, saying what it requires and the
// nearest shape that works; also for shapes beyond 100 million ops.
void require_supported(const Family& family, const Shape& shape);

// Throws what require_supported() and require_step_fits() throw, and Error (infeasible) where the
// schedule would keep more alive on a rank than the target's memory allows. Requires: target.costs
// has one entry per stage of the family's placement.
[[nodiscard]] Schedule generate(const Family& family, const Shape& shape, const Target& target);

// As above for ops that take one millisecond each, transfers that take no time, and no limit: for
// a family that is not cost-aware, the same schedule as for any costs.
[[nodiscard]] Schedule generate(const Family& family, const Shape& shape);

}  // namespace dualpipe
