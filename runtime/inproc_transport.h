// The transport between threads of one process: every rank is a thread, and a transfer is one copy
// made by whichever end comes second. That is strict rendezvous with zero buffering: a send is not
// done before its receive has been posted. So what hangs on the most unforgiving of networks hangs
// here, and what the checker proved does not.

#pragma once

#include <memory>
#include <vector>

#include "runtime/transport.h"

namespace dualpipe {

// One connected Transport per rank, in order of rank. Requires: ranks > 0. The objects share state
// that lives until the last of them is gone; each may be used by another thread. Throws Error
// (infeasible) for more ranks than the host has memory for: each takes about half a MiB.
[[nodiscard]] std::vector<std::unique_ptr<Transport>> make_inproc_transports(int ranks);

}  // namespace dualpipe
