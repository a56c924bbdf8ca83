// What a rank's status says, in the words of its program: what it is doing, and what it did before.

#pragma once

#include <cstdint>
#include <string>

#include "runtime/status.h"
#include "scheduler/program.h"

namespace dualpipe {

// Whether the status speaks of what this rank of the program has: one that another process has
// written or sent may say anything. The functions below require it.
[[nodiscard]] bool fits(const Program& program, const RankStatus& status, int rank);

// "is inside 2F5", "waits to receive gradient 1->0 #2 (stage 1, microbatch 2)", ...
[[nodiscard]] std::string describe(const Program& program, const RankStatus& status, int rank);

// "2F5 1.204 ms, receive gradient 1->0 #2 0.350 ms": what it did before that, the latest last, and
// for how long. Empty if nothing.
[[nodiscard]] std::string describe_past(const Program& program, const RankStatus& status, int rank);

// The same as a line to append to a report: "\nrank 1 before: ...". Empty if nothing, or if the
// status does not fit.
[[nodiscard]] std::string past_line(const Program& program, const RankStatus& status, int rank);

// The other rank that holds the stage of a rank, for the other direction; -1 where there is none.
[[nodiscard]] int other_holder(const Program& program, int stage, int rank);

}  // namespace dualpipe
