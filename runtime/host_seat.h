// HostSeat: where a rank can be woken and looked at by the other ranks of its host.

#pragma once

#include "runtime/doorbell.h"
#include "runtime/status.h"

namespace dualpipe {

// In shared memory, of whole cache lines.
struct alignas(64) HostSeat {
  Doorbell bell;      // the rank's MPI thread sleeps by it
  StatusPage status;  // written by the rank
};

}  // namespace dualpipe
