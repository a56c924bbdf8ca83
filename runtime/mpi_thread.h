// The one thread that makes every MPI call, and what it shares with the other threads of its
// process: MpiTransport on one side, the loop over MPI on the other. Inner part of mpi_transport.h,
// without MPI's own header.

#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "costs/error.h"
#include "runtime/host_seat.h"
#include "runtime/mpi_commands.h"
#include "runtime/operations.h"
#include "runtime/status_round.h"

namespace dualpipe {

// Why the job ends before its time.
struct MpiEnding {
  ExitCode code = ExitCode::transport;
  bool ours = false;   // otherwise another rank ends the job, and says why
  std::string reason;  // where ours
};

struct MpiShared {
  explicit MpiShared(std::size_t piece_bytes) : piece_bytes_max(piece_bytes) {}

  // Has the MPI thread look at what is guarded by `mutex`, which it leaves alone otherwise.
  void announce() {
    has_wants.store(true);
    seat->bell.ring();
  }

  const std::size_t piece_bytes_max;
  int rank = -1;  // this and the next three are set before `started`
  int ranks = 0;
  HostSeat* seat = nullptr;      // this rank's; rung by whoever wants something of the MPI thread
  std::vector<HostSeat*> seats;  // [rank]; nullptr: on another host
  Operations operations;
  MpiCommands commands;
  std::atomic<bool> has_wants{false};  // somebody wants something of what is guarded by `mutex`
  std::atomic_flag reason_printed;

  std::mutex mutex;                  // guards all that follows
  std::condition_variable answered;  // the others sleep on it, for `started` and `round`
  bool asked = false;                // somebody here wants the status of all ranks
  StatusRound round{0, 1};           // the real one is there when `started` is
  bool started = false;
  std::optional<MpiEnding> start_failure;
  bool closing = false;
  std::optional<MpiEnding> ending;  // the first one
};

// Prints the reason of an ending, unless that has been done. One write, so that lines of ranks that
// end at the same time do not mix.
void print_reason(MpiShared& shared, const std::string& reason);

// The whole life of the thread: starts MPI unless the program has, moves messages until it is told
// to close, waits for the other ranks and ends MPI if it has started it. An ending ends the
// process.
void run_mpi_thread(MpiShared& shared);

}  // namespace dualpipe
