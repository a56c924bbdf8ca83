#include "runtime/job_end.h"

#include <chrono>
#include <exception>
#include <string>
#include <thread>

#include <fmt/core.h>

#include "costs/error.h"
#include "runtime/status.h"
#include "runtime/status_words.h"
#include "runtime/transport.h"
#include "scheduler/program.h"

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

void throw_on_all_ranks(const Program& program, Transport& transport) {
  try {
    throw;
  } catch (const std::exception&) {
    abort_with_current_exception(transport);
    throw;
  } catch (...) {
    const RankStatus now = transport.status().read();
    const std::string reason = fmt::format(
        "rank {}, step {}: something that is no std::exception was thrown while the rank {}",
        transport.rank(), now.step, describe(program, now, transport.rank()));
    transport.abort(ExitCode::callback, reason);
    throw Error(ExitCode::callback, reason);
  }
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
