// Calling the trainer's code. What it throws ends the job, and the words say what was called: the
// trainer knows its stages, not in which order they are run.
//
// `name` returns what is called, as "rank 1, step 3: 2F5"; it is asked only when the call fails.

#pragma once

#include <exception>
#include <string>

#include "costs/error.h"

namespace dualpipe {

// Within a step: whatever the call throws is a failure of the trainer's code. Throws Error
// (callback).
template <typename Name, typename Call>
auto call_in_step(const Name& name, const Call& call) -> decltype(call()) {
  try {
    return call();
  } catch (const std::exception& error) {
    throw Error(ExitCode::callback, std::string(name()) + " failed: " + error.what());
  }
}

// Before and between steps, where a stage may also refuse what the user can put right: an Error
// keeps its code. Throws Error.
template <typename Name, typename Call>
auto call_between_steps(const Name& name, const Call& call) -> decltype(call()) {
  try {
    return call();
  } catch (const Error& error) {
    throw Error(error.code(), std::string(name()) + ": " + error.what());
  } catch (const std::exception& error) {
    throw Error(ExitCode::callback, std::string(name()) + " failed: " + error.what());
  }
}

}  // namespace dualpipe
