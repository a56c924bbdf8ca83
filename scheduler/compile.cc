#include "scheduler/compile.h"

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "costs/check.h"
#include "costs/error.h"
#include "scheduler/communication.h"
#include "scheduler/deadlock.h"
#include "scheduler/program.h"
#include "scheduler/program_builder.h"
#include "scheduler/schedule.h"
#include "scheduler/validate.h"
#include "scheduler/violations.h"

namespace dualpipe {
namespace {

void check_semantics(const TransportSemantics& semantics) {
  CHECK(semantics.receives_ahead >= 0 && semantics.send_slots >= 0);
  CHECK(!semantics.grouped || (semantics.receives_ahead == 0 && semantics.send_slots == 1));
  CHECK(semantics.topology == Topology::channel || semantics.receives_ahead == 0);
}

Compilation rejected(Violations& violations, std::vector<std::string> cycle) {
  return {.program = std::nullopt,
          .violations = violations.take(),
          .cycle = std::move(cycle),
          .omitted = violations.omitted()};
}

}  // namespace

std::string_view to_string(Violation::Kind kind) {
  switch (kind) {
    case Violation::Kind::shape:
      return "shape";
    case Violation::Kind::missing:
      return "missing";
    case Violation::Kind::duplicate:
      return "duplicate";
    case Violation::Kind::placement:
      return "placement";
    case Violation::Kind::order:
      return "order";
    case Violation::Kind::message:
      return "message";
    case Violation::Kind::deadlock:
      return "deadlock";
  }
  return "";
}

Compilation compile(Schedule schedule, const TransportSemantics& semantics,
                    const CommunicationOrder& communication) {
  check_semantics(semantics);
  CHECK(communication.empty() || semantics.grouped);
  Violations violations;
  validate(schedule, violations);
  if (!violations.empty()) {
    return rejected(violations, {});
  }
  Program program = ProgramBuilder(std::move(schedule), semantics).build(communication, violations);
  if (!violations.empty()) {
    return rejected(violations, {});
  }
  if (const std::optional<Deadlock> deadlock = find_deadlock(program)) {
    violations.add({.kind = Violation::Kind::deadlock,
                    .rank = deadlock->rank,
                    .slot = deadlock->slot,
                    .message = fmt::format("the ranks wait in a circle: {}",
                                           fmt::join(deadlock->cycle, "; "))});
    return rejected(violations, deadlock->cycle);
  }
  return {.program = std::move(program), .violations = {}, .cycle = {}, .omitted = 0};
}

Program compile_or_throw(Schedule schedule, const TransportSemantics& semantics) {
  const std::string name = schedule.pipeline.name;
  Compilation compilation = compile(std::move(schedule), semantics);
  if (compilation.program) {
    return std::move(*compilation.program);
  }
  constexpr std::size_t shown_max = 5;
  const std::vector<Violation>& violations = compilation.violations;
  std::string message = fmt::format("'{}' is not a valid schedule:", name);
  for (std::size_t shown = 0; shown < violations.size() && shown < shown_max; ++shown) {
    message +=
        fmt::format("\n  {}: {}", to_string(violations[shown].kind), violations[shown].message);
  }
  const std::size_t all = violations.size() + static_cast<std::size_t>(compilation.omitted);
  if (all > shown_max) {
    message += fmt::format("\n  and {} more; `dualpipe-sim check` lists them", all - shown_max);
  }
  throw Error(ExitCode::invalid_schedule, message);
}

}  // namespace dualpipe
