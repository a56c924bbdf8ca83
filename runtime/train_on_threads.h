// All ranks of a run as threads of this process.

#pragma once

#include <functional>
#include <memory>
#include <span>

#include "runtime/train.h"
#include "runtime/transport.h"

namespace dualpipe {

// Calls `train_rank`, which calls train() in the end, for every transport at once, each on a thread
// of its own, and returns what it returned for rank 0. The first error wins: it stops the others by
// an abort of their transports, and is thrown when all have ended. Throws Error (infeasible), too,
// where the system gives no more threads. Requires: the transports are those of all ranks of one
// run.
[[nodiscard]] TrainReport train_on_threads(
    std::span<const std::unique_ptr<Transport>> transports,
    const std::function<TrainReport(Transport&)>& train_rank);

}  // namespace dualpipe
