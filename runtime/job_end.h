// What a rank owes the others when an exception ends its work: they wait for it, so it ends the job
// before it lets the exception go on.

#pragma once

#include <chrono>
#include <string>

#include "costs/error.h"
#include "runtime/transport.h"
#include "scheduler/program.h"

namespace dualpipe {

// An exception as a job ends with it: the code and words of an Error; internal_error for all else.
struct Failure {
  ExitCode code = ExitCode::internal_error;
  std::string words;
};

// These four require that an exception is being handled.

[[nodiscard]] Failure current_failure();

// Ends the job with it, by Transport::abort().
void abort_with_current_exception(Transport& transport);

// Ends the job with it and throws it on. What is no std::exception becomes an Error (callback) that
// says what the rank is at by its status page: it is code of the trainer's that throws such things.
[[noreturn]] void throw_on_all_ranks(const Program& program, Transport& transport);

// As abort_with_current_exception(), where most likely every rank meets the same failure, which
// rank 0 tells: it aborts at once, any other rank only when `patience` has passed without word of
// the job's end, and then names itself. So a failure of all is told once, and that of one alone is
// told at all. Throws what Transport::check() throws when the job is being aborted already.
void abort_unless_first_rank_does(Transport& transport, std::chrono::nanoseconds patience);

// Whatever `work` throws ends the job before it goes on, as throw_on_all_ranks(): the other ranks
// wait for this one, and may still be copying to and from the buffers that its caller is about to
// free.
template <typename Work>
decltype(auto) heard_by_all(const Program& program, Transport& transport, const Work& work) {
  try {
    return work();
  } catch (...) {
    throw_on_all_ranks(program, transport);
  }
}

}  // namespace dualpipe
