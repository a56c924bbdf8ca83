// What the ranks of one host share under MPI: a seat each, in memory that all of them map, with the
// bell that wakes the rank and the page that says what it is doing. So a rank can be woken without
// MPI, and what it did last can be read when its process has been stopped or killed.
//
// The memory is MPI's (MPI_Win_allocate_shared). Open MPI makes a file of it in /dev/shm, for the
// user alone, and removes the name as soon as all ranks have mapped it, so nothing is left behind
// however the job ends.

#pragma once

#include <vector>

#include <mpi.h>

#include "runtime/host_seat.h"

namespace dualpipe {

// Its functions are called by the thread that calls MPI.
class MpiHost {
 public:
  // All ranks of `job` together; takes a seat at each. Throws Error (transport) when MPI fails.
  void open(MPI_Comm job);
  // All ranks together. The seats are gone afterwards.
  void close();

  // [rank of the job]; nullptr where it is on another host. Valid until close().
  [[nodiscard]] const std::vector<HostSeat*>& seats() const { return seats_; }

  // Whether every rank of this host can have a core for its own thread and one for MPI's.
  [[nodiscard]] bool has_cores_to_spare() const { return has_cores_to_spare_; }

 private:
  void take_seats(MPI_Comm job, MPI_Comm host);

  MPI_Win window_ = MPI_WIN_NULL;
  std::vector<HostSeat*> seats_;
  bool has_cores_to_spare_ = false;
};

}  // namespace dualpipe
