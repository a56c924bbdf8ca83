// What stands behind the opaque types of c_api.h, and how its functions answer. Not installed.

#pragma once

#include <memory>

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

// The exception that is being handled, as a status; keeps its words for dualpipe_last_error().
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
