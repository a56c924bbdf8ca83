#include "runtime/mpi_host.h"

#include <cstddef>
#include <memory>
#include <vector>

#include <mpi.h>

#include "costs/check.h"
#include "runtime/host_cores.h"
#include "runtime/host_seat.h"
#include "runtime/mpi_error.h"

namespace dualpipe {
namespace {

bool cores_to_spare(MPI_Comm host) {
  int ranks_here = 0;
  MPI_Comm_size(host, &ranks_here);

  std::vector<unsigned long> cores = own_cores();
  const int own = count_cores(cores);
  // Of all ranks together, for theirs may be the same ones. No rank of a host without a mask has
  // one.
  require_mpi("MPI_Allreduce",
              MPI_Allreduce(MPI_IN_PLACE, cores.data(), static_cast<int>(cores.size()),
                            MPI_UNSIGNED_LONG, MPI_BOR, host));
  return own >= 2 && count_cores(cores) >= 2 * ranks_here;
}

// MPI aligns what it gives for its own needs alone.
constexpr std::size_t room_bytes = sizeof(HostSeat) + alignof(HostSeat);

// Whole pages are mapped, so every process finds the same place within the room.
HostSeat* seat_in(void* room) {
  std::size_t space = room_bytes;
  void* const seat = std::align(alignof(HostSeat), sizeof(HostSeat), room, space);
  CHECK(seat != nullptr);
  return static_cast<HostSeat*>(seat);
}

}  // namespace

void MpiHost::open(MPI_Comm job) {
  MPI_Comm host = MPI_COMM_NULL;
  require_mpi("MPI_Comm_split_type",
              MPI_Comm_split_type(job, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &host));
  has_cores_to_spare_ = cores_to_spare(host);
  take_seats(job, host);
  require_mpi("MPI_Comm_free", MPI_Comm_free(&host));
}

void MpiHost::take_seats(MPI_Comm job, MPI_Comm host) {
  int rank = 0;
  int ranks = 0;
  int ranks_here = 0;
  MPI_Comm_rank(job, &rank);
  MPI_Comm_size(job, &ranks);
  MPI_Comm_size(host, &ranks_here);
  void* own = nullptr;
  require_mpi("MPI_Win_allocate_shared",
              MPI_Win_allocate_shared(room_bytes, 1, MPI_INFO_NULL, host, static_cast<void*>(&own),
                                      &window_));
  std::construct_at(seat_in(own));

  // Nobody looks at a seat before it is made: all come here behind their own.
  std::vector<int> ranks_of_host(static_cast<std::size_t>(ranks_here));
  require_mpi("MPI_Allgather",
              MPI_Allgather(&rank, 1, MPI_INT, ranks_of_host.data(), 1, MPI_INT, host));
  seats_.assign(static_cast<std::size_t>(ranks), nullptr);
  for (int k = 0; k < ranks_here; ++k) {
    MPI_Aint size = 0;
    int unit = 0;
    void* room = nullptr;
    require_mpi("MPI_Win_shared_query",
                MPI_Win_shared_query(window_, k, &size, &unit, static_cast<void*>(&room)));
    const int of = ranks_of_host[static_cast<std::size_t>(k)];
    seats_[static_cast<std::size_t>(of)] = seat_in(room);
  }
}

void MpiHost::close() {
  seats_.clear();
  require_mpi("MPI_Win_free", MPI_Win_free(&window_));
}

}  // namespace dualpipe
