#include "runtime/job_end.h"

#include <chrono>
#include <exception>
#include <thread>

#include <fmt/core.h>

#include "costs/error.h"
#include "runtime/transport.h"

namespace dualpipe {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds pause{5};  // between two looks at whether the job has ended

}  // namespace

Failure current_failure() {
  try {
    throw;
  } catch (const Error& error) {
    return {.code = error.code(), .words = error.what()};
  } catch (const std::exception& error) {
    return {.code = ExitCode::internal_error, .words = error.what()};
  } catch (...) {
    return {.code = ExitCode::internal_error, .words = "an exception of an unknown type"};
  }
}

void abort_with_current_exception(Transport& transport) {
  const Failure failure = current_failure();
  transport.abort(failure.code, failure.words);
}

void abort_unless_first_rank_does(Transport& transport, std::chrono::nanoseconds patience) {
  Failure failure = current_failure();
  if (transport.rank() != 0) {
    const Clock::time_point limit = Clock::now() + patience;
    for (transport.check(); Clock::now() < limit; transport.check()) {
      std::this_thread::sleep_for(pause);
    }
    failure.words = fmt::format("rank {}: {}", transport.rank(), failure.words);
  }
  transport.abort(failure.code, failure.words);
}

}  // namespace dualpipe
