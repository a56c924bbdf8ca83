// The transport between processes of one host that the program starts by itself, for machines
// without MPI: the calling process forks, and all share a piece of memory. Every channel is a ring
// of bytes in it, so short messages are done before their receive is posted. Bytes move while a
// rank posts, waits or checks; it is meant for control messages beside a transport for GPUs, and is
// right, if not fast, for all others.
//
// The caller is rank 0. If it dies the others are killed; if one of them dies, the next wait or
// check of rank 0 aborts the job with how it ended.

#pragma once

#include <memory>

#include "runtime/transport.h"

namespace dualpipe {

// Returns ranks times, in as many processes, with the Transport of each. Those of other ranks than
// 0 are to come to their own end, with exit code 0; rank 0's destructor waits for them, and kills
// who takes longer than seconds. Where one ends in another way, or aborts, when rank 0 waits for
// nothing any more, the destructor says so on stderr and ends the process with the code of that, as
// a launcher would. Requires: this process has one thread; 0 < ranks <= 64.
// Throws Error (transport) when the system does not give memory or processes.
[[nodiscard]] std::unique_ptr<Transport> fork_ranks(int ranks);

}  // namespace dualpipe
