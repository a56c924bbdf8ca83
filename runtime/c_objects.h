// What stands behind the opaque types of c_api.h, and how its functions answer. Not installed.

#pragma once

#include <memory>
#include <string>

#include "runtime/c_api.h"
#include "runtime/transport.h"
#include "scheduler/program.h"

// NOLINTBEGIN(readability-identifier-naming): the names of C.
struct dualpipe_plan {
  dualpipe::Program program;
};

struct dualpipe_transport {
  std::unique_ptr<dualpipe::Transport> transport;
};
// NOLINTEND(readability-identifier-naming)

namespace dualpipe {

// Keeps the words for dualpipe_last_error(), and passes the status on.
dualpipe_status remember_failure(dualpipe_status status, const std::string& words);

// The exception that is being handled, as status and words.
dualpipe_status remember_exception();

// Runs `work`; what it throws becomes a status.
template <typename Work>
dualpipe_status guarded(const Work& work) {
  try {
    work();
    return DUALPIPE_OK;
  } catch (...) {
    return remember_exception();
  }
}

}  // namespace dualpipe
