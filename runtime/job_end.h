// What a rank owes the others when an exception ends its work: they wait for it, so it ends the job
// before it lets the exception go on.

#pragma once

#include <chrono>
#include <string>

#include "costs/error.h"
#include "runtime/transport.h"

namespace dualpipe {

// An exception as a job ends with it: the code and words of an Error; internal_error for all else.
struct Failure {
  ExitCode code = ExitCode::internal_error;
  std::string words;
};

// These three require that an exception is being handled.

[[nodiscard]] Failure current_failure();

// Ends the job with it, by Transport::abort().
void abort_with_current_exception(Transport& transport);

// The same, where most likely every rank meets the same failure, which rank 0 tells: it aborts at
// once, any other rank only when `patience` has passed without word of the job's end, and then
// names itself. So a failure of all is told once, and that of one alone is told at all. Throws what
// Transport::check() throws when the job is being aborted already.
void abort_unless_first_rank_does(Transport& transport, std::chrono::nanoseconds patience);

}  // namespace dualpipe
