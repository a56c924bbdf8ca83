// The transport between GPUs, over NCCL. NCCL moves what lies in the GPUs' memory; control
// messages, status and aborts go through an inner transport of the host, mpi or inproc. The header
// has nothing of NCCL's in it; the library dualpipe::nccl does, and exists only where CMake found
// NCCL.
//
// Communicators are as the Program's topology wants them (communicators.h), each with a stream of
// its own, so that operations which the proof has under way together do not queue behind each
// other. Before the first step they are opened and every route over them is tried once: NCCL
// connects at the first message, and blocks the host meanwhile.
//
// What a waiting operation holds of the GPU is bounded before anything runs: see
// ctas_per_communicator(). Operations start one by one as they are posted; those of a group of the
// Program's, and the two of a replicas' sum, together.
//
// A peer that has died is noticed by NCCL for some transports and by a deadline otherwise. Then all
// communicators are revoked, so that no operation keeps the GPU, and never closed in the orderly
// way, which would wait for the dead. A process that does not get through that within seconds ends
// with the code of the abort.

#pragma once

#include <chrono>
#include <memory>

#include "runtime/transport.h"
#include "scheduler/program.h"

namespace dualpipe {

struct NcclOptions {
  // SMs of each GPU that all communication of a rank may hold at once. The rest is always free for
  // computing; where less is being communicated, more is.
  int reserved_sms = 32;
  // Whether ranks of one host may share a GPU, for trying out: slow, and only processes can. Where
  // two do, NCCL is told that every process is a host of its own (NCCL_HOSTID, NCCL_NET=Socket,
  // NCCL_MNNVL_ENABLE=0, unless the environment says otherwise); where none do, nothing changes.
  bool share_gpus = false;
  // For NCCL to open a communicator, try a route, or take over an operation.
  std::chrono::nanoseconds timeout = std::chrono::seconds(60);
};

// What CUDA and NCCL are to find in the environment when they start, where it does not say
// otherwise already; to be called before either is used, while the process has one thread. Beside
// what prepare_cuda_environment() sets:
// - CUDA_MODULE_LOADING=EAGER: loading a kernel at its first use may wait for an operation of NCCL
//   that waits for a peer.
// - NCCL_LAUNCH_ORDER_IMPLICIT=0: with 1 an operation waits until all that were posted before it
//   have started, also one that queues on its communicator behind a receive posted ahead. The
//   Program's proof has no such waits, and the bound on SMs makes them needless.
void prepare_nccl_environment();

// Opens all communicators; every rank calls it at the same time, each from its own thread, with
// equal arguments. Rank r computes on the GPU whose number is its place among the ranks of its
// host, of those that its process may use. On failure the job is aborted. Throws Error: usage (no
// GPU, two ranks with one), infeasible (see communicators.h), transport, timeout. `program` must
// outlive the transport.
[[nodiscard]] std::unique_ptr<Transport> make_nccl_transport(std::unique_ptr<Transport> inner,
                                                             const Program& program,
                                                             const NcclOptions& options = {});

}  // namespace dualpipe
