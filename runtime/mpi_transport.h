// The transport between processes, over MPI. This header has no MPI in it; the library
// dualpipe::mpi does, and exists only where CMake found MPI.
//
// One thread per process makes every MPI call there is, from MPI_Init_thread to MPI_Finalize; where
// the program has started MPI itself, all between the two, and leaves both to the program. It
// takes posted operations from a bounded queue, and polls, because Open MPI makes no progress
// between calls. While there are cores to spare it spins, then yields, then sleeps; where ranks
// share cores it sleeps at once, for a thread that spins takes the time of those that compute. It
// sleeps for 30 us up to 150 us (1 ms when only ranks of this host can have sent something), and is
// woken earlier by a doorbell: its own rank rings it for every operation it posts, and so does
// every rank of the same host that has begun a message to it. Two duplicates of MPI_COMM_WORLD keep
// data and control apart. The thread answers status requests of other ranks even while the rank's
// own thread computes or hangs.
//
// A message whose size differs from its receive's is found by the receiver alone.

#pragma once

#include <cstddef>
#include <memory>

#include "runtime/transport.h"

namespace dualpipe {

struct MpiOptions {
  // Longer messages travel in pieces, because MPI counts bytes in an int. Equal on all
  // ranks. Requires: from 1 to INT_MAX.
  std::size_t piece_bytes_max = std::size_t{1} << 30;
};

// Starts MPI and the thread, and returns when every rank has. The destructor waits for the other
// ranks' destructors, and ends MPI. So this can be done once per process.
//
// Where the program has started MPI, it stays the program's: neither started nor ended here, and
// one transport may follow another, all of them between MPI_Init_thread and MPI_Finalize. It must
// have been started with MPI_THREAD_MULTIPLE; MPI_THREAD_SERIALIZED will do if the program calls
// nothing of MPI while a transport lives. The transport's ranks are those of MPI_COMM_WORLD; it
// works on duplicates and changes nothing about that one.
//
// abort() does not return: it prints `reason` to stderr and ends all processes of the job, and so
// mpirun, with `code`, by MPI_Abort - or this process alone by _exit, should MPI be stuck for a
// second. Other ranks hear of it first where possible; one that aborts after that prints nothing.
//
// Throws Error: transport, when MPI does not start or offers too little thread support; usage, when
// the program has started it with too little, or has ended it.
[[nodiscard]] std::unique_ptr<Transport> make_mpi_transport(const MpiOptions& options = {});

// Whether this process is one of several started by mpirun, srun or the like, told by its
// environment. A shell inside a Slurm job is none.
[[nodiscard]] bool started_by_mpi_launcher();

}  // namespace dualpipe
