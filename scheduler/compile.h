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
    deadlock,   // ranks wait for each other in a circle
    memory,     // a rank keeps more alive than it may
  };
  Kind kind = Kind::shape;
  int rank = 0;
  int slot = 0;         // index on the rank; -1 when no one slot is to blame
  std::string message;  // one sentence for people

  bool operator==(const Violation&) const = default;
};

[[nodiscard]] std::string_view to_string(Violation::Kind kind);

// A place in a schedule.
struct RankSlot {
  int rank = 0;
  int slot = 0;  // index on the rank; -1 for its end

  bool operator==(const RankSlot&) const = default;
};

struct Compilation {
  std::optional<Program> program;     // present exactly when there are no violations
  std::vector<Violation> violations;  // at most violations_max of each kind; see `omitted`
  std::vector<std::string> cycle;     // of a deadlock: who waits for whom, one sentence each
  std::vector<RankSlot> stuck;        // of a deadlock: the slots that the cycle's ranks wait before
  std::vector<std::string> warnings;  // what is no fault here, but is elsewhere
  int omitted = 0;                    // violations found beyond those listed
  // Of a deadlock: messages per lane with which there would be none; nothing if no number is
  // enough. See TransportSemantics::buffering.
  std::optional<int> smallest_buffering;
};

inline constexpr int violations_max = 100;

// Linear in the number of ops. Completeness, placement and order are checked first; the messages of
// every channel only if those hold; lanes that channels share, and deadlock, only if the channels
// match: each rests on the one before. Deadlock is judged by one play of the communication, which
// proves something of every timing because nothing that can happen ever becomes impossible; play.h
// has the rules and the argument. With semantics.buffering = 0 they are those of rendezvous.
//
// A schedule without any backward is one of inference, and complete with its forwards.
//
// `communication` is the order of sends and receives to prove; without it, each value is sent after
// the slot that writes it and received for the slot that reads it, in the way the semantics say.
// Requires of semantics with a communication order: grouped; or receives_ahead = 0, and send_slots
// = 0 (every operation is waited for at once) or unlimited (a receive is waited for by the slot
// that reads it, a send at the end, as PyTorch does).
[[nodiscard]] Compilation compile(Schedule schedule, const TransportSemantics& semantics = {},
                                  const CommunicationOrder& communication = {});

// As compile() on a communicator per channel, with as few receives posted ahead as the schedule can
// do with: 1, unless it deadlocks with that. Looped schedules with many microbatches need more.
// What engines run, whose transports have the buffers that the program asks for.
[[nodiscard]] Compilation compile_with_least_buffers(const Schedule& schedule);

// The program of a schedule of that name. Throws Error (invalid_schedule), listing the first
// violations and the wait cycle, where there is none.
[[nodiscard]] Program program_or_throw(Compilation compilation, const std::string& name);

// As above and as compile(), for callers that have nothing to do with a broken schedule but say so.
// Throws Error (invalid_schedule) listing the first violations and the wait cycle.
[[nodiscard]] Program compile_or_throw(const Schedule& schedule);
[[nodiscard]] Program compile_or_throw(Schedule schedule, const TransportSemantics& semantics);

}  // namespace dualpipe
