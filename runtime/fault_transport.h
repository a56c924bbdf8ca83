// A transport that makes things go wrong on purpose, around one that works: it delays, doubles,
// loses, shortens and alters messages, and ends ranks. Where a test cannot have bad hardware, this
// shows that every fault comes to a correct result or to an error, never to a wrong gradient.
//
// What goes wrong depends on the plan and on the order in which a rank sends, not on timing. The
// messages of a channel keep their order, as every transport promises, but for those that a fault
// takes away or adds. Delayed messages go out from the rank's own thread, inside its later calls:
// a rank that computes meanwhile delays them further.

#pragma once

#include <memory>
#include <vector>

#include "runtime/fault.h"
#include "runtime/transport.h"

namespace dualpipe {

// Around all the ranks of a job that are threads of this process, in order of rank. A rank that is
// to die stands still in the middle of its work, as the other ranks see it, until the job is
// aborted; then it throws as they do. Throws Error (usage) when a fault names a rank that there is
// not.
[[nodiscard]] std::vector<std::unique_ptr<Transport>> make_fault_transports(
    std::vector<std::unique_ptr<Transport>> inner, const FaultPlan& plan);

// Around the one rank of this process. If it is to die, the process says so on stderr and is killed
// (SIGKILL). Throws as above.
[[nodiscard]] std::unique_ptr<Transport> make_fault_transport(std::unique_ptr<Transport> inner,
                                                              const FaultPlan& plan);

}  // namespace dualpipe
