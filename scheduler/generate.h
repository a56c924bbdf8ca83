// The table of schedule families. A family is a row: a generator function, what it requires of the
// shape, and what is known of it in closed form. To add one, write generators/<name>.cc, declare it
// in generators/families.h and add a row to generate.cc.

#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "costs/cost_model.h"
#include "scheduler/communication.h"
#include "scheduler/schedule.h"

namespace dualpipe {

// What the user asks of a family.
struct Shape {
  int ranks = 0;
  int microbatches = 0;
  int chunks = 1;  // stages per rank, where the family lets you choose; others ignore it
};

// What is known of a family without simulating it, for stages of equal cost.
struct ClosedForm {
  std::optional<Time> step_time;  // makespan; none where no exact formula is known for this shape
  int peak_activations = 0;       // the most stage activations alive on one rank, F begin to W end
};

struct Family {
  std::string_view name;
  std::string_view summary;
  std::string_view source;             // paper or repository
  std::string_view requirement;        // in words, quoted by `list` and by every refusal
  std::string_view step_time_formula;  // in the symbols of docs/formats.md, quoted by `list`
  bool (*supports)(const Shape&);
  Schedule (*generate)(const Shape&);  // Requires: supports(shape)
  // Requires: supports(shape); `stage` is the cost of every stage.
  ClosedForm (*closed_form)(const Shape& shape, const StageCosts& stage, Time p2p);
  // The grouped sends and receives of the family's reference implementation, where it has its own
  // order; otherwise null. Requires: supports(shape).
  CommunicationOrder (*reference_communication)(const Shape&) = nullptr;
};

// Sorted by name.
[[nodiscard]] std::span<const Family* const> families();

// Throws Error (usage) naming the nearest name when there is no such family.
[[nodiscard]] const Family& find_family(std::string_view name);

// Throws Error (usage) when the family does not support the shape, saying what it requires and the
// nearest shape that works; also for shapes beyond 100 million ops.
[[nodiscard]] Schedule generate(const Family& family, const Shape& shape);

}  // namespace dualpipe
