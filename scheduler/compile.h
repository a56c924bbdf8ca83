// compile(): a schedule and a transport's semantics in, a Program out - or everything that is wrong
// with the schedule.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "scheduler/communication.h"
#include "scheduler/program.h"
#include "scheduler/schedule.h"

namespace dualpipe {

struct Violation {
  enum class Kind : std::uint8_t {
    shape,      // the schedule's parts do not fit each other
    missing,    // an op that should be there is not
    duplicate,  // an op is there twice, or as B and as I or W
    placement,  // an op is on a rank that does not hold its stage
    order,      // an op comes before what it reads, on its own rank
    message,    // a channel's receives are in another order than its sends
    deadlock,
  };
  Kind kind = Kind::shape;
  int rank = 0;
  int slot = 0;         // index on the rank; -1 when no one slot is to blame
  std::string message;  // one sentence for people

  bool operator==(const Violation&) const = default;
};

[[nodiscard]] std::string_view to_string(Violation::Kind kind);

struct Compilation {
  std::optional<Program> program;     // present exactly when there are no violations
  std::vector<Violation> violations;  // at most violations_max of each kind; see `omitted`
  std::vector<std::string> cycle;     // of a deadlock: who waits for whom, one sentence each
  int omitted = 0;                    // violations found beyond those listed
};

inline constexpr int violations_max = 100;

// Linear in the number of ops. Completeness, placement and order are checked first; messages only
// if those hold, and deadlock only if the messages match: each rests on the one before. Deadlock is
// judged under rendezvous with zero buffering: a transfer takes place only while both its send and
// its receive are at the front of their communicators. No choice exists in such a system, so one
// run that completes proves that every timing completes.
//
// `communication` is the order of sends and receives to prove; without it, each value is sent after
// the slot that writes it and received for the slot that reads it, in the way the semantics say.
// Requires: a communication order only with grouped semantics.
[[nodiscard]] Compilation compile(Schedule schedule, const TransportSemantics& semantics = {},
                                  const CommunicationOrder& communication = {});

// As compile(), for callers that have nothing to do with a broken schedule but say so.
// Throws Error (invalid_schedule) listing the first violations and the wait cycle.
[[nodiscard]] Program compile_or_throw(Schedule schedule, const TransportSemantics& semantics = {});

}  // namespace dualpipe
