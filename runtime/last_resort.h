// LastResort: a second timer, behind every deadline. Where a rank gives up it reports and ends the
// job; should it get stuck in that - in MPI, in a full pipe that it writes its report to - this
// ends the process all the same.

#pragma once

#include <chrono>
#include <string>
#include <thread>

#include "costs/error.h"

namespace dualpipe {

class LastResort {
 public:
  // Unless this object is destroyed within `time`, writes `reason` to stderr where that does not
  // block, and ends the process with `code`, without any cleaning up.
  LastResort(std::chrono::milliseconds time, ExitCode code, std::string reason);

 private:
  std::jthread timer_;
};

}  // namespace dualpipe
