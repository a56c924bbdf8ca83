#include "cli/mpi_farm.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <mpi.h>

#include "cli/commands.h"
#include "cli/work_queue.h"
#include "costs/check.h"
#include "costs/error.h"

namespace dualpipe {
namespace {

constexpr int point_tag = 1;  // to a process: a point to work out, or `no_more`
constexpr int row_tag = 2;    // from it: the row of its point
constexpr std::int64_t no_more = -1;

void send_point(int rank, std::int64_t point) {
  MPI_Send(&point, 1, MPI_INT64_T, rank, point_tag, MPI_COMM_WORLD);
}

std::int64_t receive_point() {
  std::int64_t point = no_more;
  MPI_Recv(&point, 1, MPI_INT64_T, 0, point_tag, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
  return point;
}

// The points that other processes work on.
class Workers {
 public:
  Workers(WorkQueue& queue, int ranks)
      : queue_(queue), points_(static_cast<std::size_t>(ranks), no_more) {}

  // Takes what rows there are and gives every idle process a point.
  void advance() {
    for (int came = 1; came != 0;) {
      MPI_Status status;
      MPI_Iprobe(MPI_ANY_SOURCE, row_tag, MPI_COMM_WORLD, &came, &status);
      if (came != 0) {
        receive(status);
      }
    }
    for (std::size_t rank = 1; rank < points_.size(); ++rank) {
      if (points_[rank] == no_more) {
        if (const std::optional<std::size_t> point = queue_.take_now()) {
          points_[rank] = static_cast<std::int64_t>(*point);
          send_point(static_cast<int>(rank), points_[rank]);
        }
      }
    }
  }

  // Waits for the rows that are under way, and forgets them.
  void drain() {
    for (std::size_t rank = 1; rank < points_.size(); ++rank) {
      if (points_[rank] != no_more) {
        MPI_Status status;
        MPI_Probe(static_cast<int>(rank), row_tag, MPI_COMM_WORLD, &status);
        receive(status);
      }
    }
  }

 private:
  void receive(const MPI_Status& status) {
    int size = 0;
    MPI_Get_count(&status, MPI_CHAR, &size);
    std::string row(static_cast<std::size_t>(size), '\0');
    MPI_Recv(row.data(), size, MPI_CHAR, status.MPI_SOURCE, row_tag, MPI_COMM_WORLD,
             MPI_STATUS_IGNORE);
    std::int64_t& point = points_[static_cast<std::size_t>(status.MPI_SOURCE)];
    queue_.put(static_cast<std::size_t>(point), std::move(row));
    point = no_more;
  }

  WorkQueue& queue_;
  std::vector<std::int64_t> points_;  // [rank]: that it works on, or no_more
};

// Whatever happens, what is under way is waited for: the processes are to agree on what was said.
struct Draining {
  WorkQueue& queue;
  Workers& workers;
  ~Draining() {
    queue.stop();
    workers.drain();
  }
};

}  // namespace

MpiFarm::MpiFarm() {
  int provided = 0;
  if (MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided) != MPI_SUCCESS ||
      provided < MPI_THREAD_FUNNELED) {
    throw Error(ExitCode::transport,
                "MPI did not start with a thread of its own; start without mpirun, or check the "
                "MPI installation");
  }
  MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks_);
}

MpiFarm::~MpiFarm() {
  dismiss();
  MPI_Finalize();
}

void MpiFarm::dismiss() {
  if (is_dismissed_) {
    return;
  }
  is_dismissed_ = true;
  if (rank_ != 0) {
    CHECK(receive_point() == no_more);
  }
  for (int rank = 1; rank_ == 0 && rank < ranks_; ++rank) {
    send_point(rank, no_more);
  }
}

SweepFarm MpiFarm::sweep_farm() {
  return rank_ == 0
             ? SweepFarm{.lead = [this](const SweepWork& work) { lead(work); }, .serve = {}}
             : SweepFarm{.lead = {}, .serve = [this](const SweepWork& work) { serve(work); }};
}

// This thread alone speaks MPI; another one works.
void MpiFarm::lead(const SweepWork& work) {
  constexpr std::size_t rows_per_process = 64;
  WorkQueue queue(work.first, work.end, rows_per_process * static_cast<std::size_t>(ranks_));
  std::mutex mutex;
  std::exception_ptr error;  // guarded by the mutex
  {
    Workers workers(queue, ranks_);
    std::jthread own;
    const Draining draining{queue, workers};
    own = std::jthread([&] {
      try {
        while (const std::optional<std::size_t> point = queue.take()) {
          queue.put(*point, work.row(*point));
        }
      } catch (...) {
        const std::scoped_lock lock(mutex);
        error = std::current_exception();
        queue.stop();
      }
    });
    for (bool is_wanted = true; is_wanted && !queue.is_done();) {
      workers.advance();
      is_wanted = work.write(queue.await_rows(std::chrono::milliseconds(1)), queue.written());
      const std::scoped_lock lock(mutex);
      is_wanted = is_wanted && !error;
    }
  }
  if (error) {
    std::rethrow_exception(error);
  }
}

void MpiFarm::serve(const SweepWork& work) {
  for (std::int64_t point = receive_point(); point != no_more; point = receive_point()) {
    try {
      const std::string row = work.row(static_cast<std::size_t>(point));
      MPI_Send(row.data(), static_cast<int>(row.size()), MPI_CHAR, 0, row_tag, MPI_COMM_WORLD);
    } catch (const std::exception& failure) {  // A bug or no memory: nobody can go on.
      static_cast<void>(std::fprintf(stderr, "error: process %d: %s\n", rank_, failure.what()));
      MPI_Abort(MPI_COMM_WORLD, static_cast<int>(ExitCode::internal_error));
    }
  }
  is_dismissed_ = true;
}

}  // namespace dualpipe
