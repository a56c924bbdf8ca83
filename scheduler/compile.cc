#include "scheduler/compile.h"

#include <algorithm>
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

void check_semantics(const TransportSemantics& semantics, const CommunicationOrder& communication) {
  CHECK(semantics.receives_ahead >= 0 && semantics.send_slots >= 0 && semantics.buffering >= 0);
  CHECK(!semantics.grouped || (semantics.receives_ahead == 0 && semantics.send_slots == 1));
  CHECK(semantics.topology == Topology::channel || semantics.receives_ahead == 0);
  CHECK(communication.empty() || semantics.grouped ||
        (semantics.receives_ahead == 0 &&
         (semantics.send_slots == 0 || semantics.send_slots == unlimited)));
}

// Adds a violation, and tells the rest in the compilation, if the program can hang.
void check_deadlock(const Program& program, Violations& violations, Compilation& compilation) {
  std::optional<Deadlock> deadlock = find_deadlock(program);
  if (!deadlock) {
    return;
  }
  const RankSlot& place = deadlock->stuck.front();
  violations.add({.kind = Violation::Kind::deadlock,
                  .rank = place.rank,
                  .slot = place.slot,
                  .message = "the ranks wait in a circle: " + deadlock->story});
  compilation.cycle = std::move(deadlock->cycle);
  compilation.stuck = std::move(deadlock->stuck);
  compilation.smallest_buffering = deadlock->smallest_buffering;
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
    case Violation::Kind::memory:
      return "memory";
  }
  return "";
}

Compilation compile(Schedule schedule, const TransportSemantics& semantics,
                    const CommunicationOrder& communication) {
  check_semantics(semantics, communication);
  Compilation compilation;
  Violations violations;
  validate(schedule, violations);
  if (violations.empty()) {
    compilation.warnings = warnings_of(schedule);
    Program program =
        ProgramBuilder(std::move(schedule), semantics).build(communication, violations);
    if (violations.empty()) {
      check_shared_lanes(program, violations);
      check_deadlock(program, violations, compilation);
    }
    if (violations.empty()) {
      compilation.program = std::move(program);
    }
  }
  compilation.omitted = violations.omitted();
  compilation.violations = violations.take();
  return compilation;
}

Compilation compile_with_least_buffers(const Schedule& schedule) {
  TransportSemantics semantics;
  Compilation compilation = compile(schedule, semantics);
  // A receive posted ahead lets a send be done as a place in a buffer does, but only while its rank
  // has not come to a later one; so where that many are not enough, twice as many are tried.
  int too_few = 0;
  while (!compilation.program && compilation.smallest_buffering) {
    too_few = semantics.receives_ahead;
    semantics.receives_ahead = std::max(1 + *compilation.smallest_buffering, 2 * too_few);
    compilation = compile(schedule, semantics);
  }
  while (compilation.program && semantics.receives_ahead - too_few > 1) {
    const int enough = semantics.receives_ahead;
    semantics.receives_ahead = too_few + (enough - too_few) / 2;
    Compilation fewer = compile(schedule, semantics);
    if (fewer.program) {
      compilation = std::move(fewer);
    } else {
      too_few = semantics.receives_ahead;
      semantics.receives_ahead = enough;
    }
  }
  return compilation;
}

Program program_or_throw(Compilation compilation, const std::string& name) {
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

Program compile_or_throw(const Schedule& schedule) {
  return program_or_throw(compile_with_least_buffers(schedule), schedule.pipeline.name);
}

Program compile_or_throw(Schedule schedule, const TransportSemantics& semantics) {
  const std::string name = schedule.pipeline.name;
  return program_or_throw(compile(std::move(schedule), semantics), name);
}

}  // namespace dualpipe
