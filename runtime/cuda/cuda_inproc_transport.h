// The transport between threads of one process that compute on GPUs: several ranks share one GPU,
// or each has its own. A message is one copy on the receiver's communication stream, which waits
// for both ends' compute streams and for which both wait. So one GPU is enough to run everything
// but NCCL.
//
// It is as unforgiving as the transport between threads without GPUs: a copy is asked for only when
// both ends are posted, and waiting for a ticket holds the host until then, so that a send is not
// done before its receive is posted.

#pragma once

#include <memory>
#include <vector>

#include "runtime/transport.h"

namespace dualpipe {

// One connected Transport per rank, in order of rank, rank r on GPU r modulo their number. Throws
// Error (usage) "no GPU: <reason>". Requires: ranks > 0. The objects share state that lives until
// the last of them is gone; each may be used by another thread.
[[nodiscard]] std::vector<std::unique_ptr<Transport>> make_cuda_inproc_transports(int ranks);

}  // namespace dualpipe
