#include "runtime/mpi_transport.h"

#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/core.h>
#include <unistd.h>

#include "costs/check.h"
#include "costs/error.h"
#include "runtime/cpu_device.h"
#include "runtime/device.h"
#include "runtime/host_seat.h"
#include "runtime/last_resort.h"
#include "runtime/mpi_commands.h"
#include "runtime/mpi_thread.h"
#include "runtime/status.h"
#include "runtime/status_round.h"
#include "runtime/transport.h"

namespace dualpipe {
namespace {

constexpr std::chrono::minutes start_limit{5};  // for the last rank to come
constexpr std::chrono::seconds abort_limit{1};  // for the MPI thread to end the job
constexpr std::chrono::seconds abort_grace{2};  // for this thread to end the process instead

// What a rank of this host was doing that does not say so itself: its process may be stopped or
// dead, perhaps in the middle of writing its page.
std::optional<RankStatus> page_of_silent(const HostSeat& seat) {
  std::optional<RankStatus> status = seat.status.try_patiently();
  if (status) {
    status->answers = false;
  }
  return status;
}

class MpiTransport final : public Transport {
 public:
  explicit MpiTransport(const MpiOptions& options)
      : shared_(options.piece_bytes_max), thread_([this] { run_mpi_thread(shared_); }) {
    CHECK(0 < options.piece_bytes_max && std::in_range<int>(options.piece_bytes_max));
    std::unique_lock lock(shared_.mutex);
    const bool settled = shared_.answered.wait_for(
        lock, start_limit, [this] { return shared_.started || shared_.start_failure; });
    if (!settled) {
      // The thread is inside MPI for good; there is no way to go on without it.
      print_reason(shared_, fmt::format("MPI did not start within {} minutes: not all ranks came",
                                        start_limit.count()));
      ::_exit(static_cast<int>(ExitCode::transport));
    }
    if (shared_.start_failure) {
      throw Error(shared_.start_failure->code, shared_.start_failure->reason);
    }
  }
  MpiTransport(const MpiTransport&) = delete;
  MpiTransport& operator=(const MpiTransport&) = delete;

  ~MpiTransport() override {
    if (const std::size_t outstanding = shared_.operations.outstanding(); outstanding > 0) {
      abort(ExitCode::transport,
            fmt::format("rank {} ended with {} operations under way", shared_.rank, outstanding));
    }
    const std::scoped_lock lock(shared_.mutex);
    shared_.closing = true;
    shared_.announce();
  }

  [[nodiscard]] int rank() const override { return shared_.rank; }
  [[nodiscard]] int ranks() const override { return shared_.ranks; }
  [[nodiscard]] std::string_view name() const override { return "mpi"; }
  [[nodiscard]] Device& device() override { return device_; }

  [[nodiscard]] Ticket post_send(int destination, MessageClass message_class,
                                 std::span<const std::byte> message) override {
    return post({.peer = destination,
                 .message_class = message_class,
                 .sends = true,
                 .outgoing = message,
                 .incoming = {}});
  }
  [[nodiscard]] Ticket post_receive(int source, MessageClass message_class,
                                    std::span<std::byte> message) override {
    return post({.peer = source,
                 .message_class = message_class,
                 .sends = false,
                 .outgoing = {},
                 .incoming = message});
  }
  [[nodiscard]] bool wait(Ticket ticket, Deadline deadline) override {
    return shared_.operations.wait(ticket, deadline);
  }

  void end_group() override {}
  void check() override { shared_.operations.check(); }

  [[nodiscard]] StatusPage& status() override { return shared_.seat->status; }
  [[nodiscard]] std::optional<std::vector<std::optional<RankStatus>>> collect_status(
      Deadline deadline) override;

  void abort(ExitCode code, const std::string& reason) noexcept override;

 private:
  [[nodiscard]] Ticket post(MpiCommand command) {
    CHECK(0 <= command.peer && command.peer < shared_.ranks && command.peer != shared_.rank);
    command.ticket = shared_.operations.open();
    shared_.commands.push(command);
    shared_.seat->bell.ring();
    return command.ticket;
  }

  MpiShared shared_;
  CpuDevice device_;
  std::jthread thread_;
};

std::optional<std::vector<std::optional<RankStatus>>> MpiTransport::collect_status(
    Deadline deadline) {
  std::unique_lock lock(shared_.mutex);
  shared_.asked = true;
  shared_.announce();
  shared_.answered.wait_until(lock, deadline, [this] {
    return !shared_.asked && shared_.round.state() != StatusRound::State::asking;
  });
  if (shared_.round.state() == StatusRound::State::yielded) {
    return std::nullopt;
  }
  std::vector<std::optional<RankStatus>> statuses = shared_.round.statuses();
  statuses[static_cast<std::size_t>(shared_.rank)] = shared_.seat->status.read();
  for (std::size_t rank = 0; rank < statuses.size(); ++rank) {
    if (!statuses[rank] && shared_.seats[rank] != nullptr) {
      statuses[rank] = page_of_silent(*shared_.seats[rank]);
    }
  }
  return statuses;
}

void MpiTransport::abort(ExitCode code, const std::string& reason) noexcept {
  const LastResort timer(abort_limit + abort_grace, code, "ending the job got stuck");
  MpiEnding ending;
  {
    const std::scoped_lock lock(shared_.mutex);
    if (!shared_.ending) {
      shared_.ending = MpiEnding{.code = code, .ours = true, .reason = reason};
    }
    ending = *shared_.ending;
    shared_.announce();
  }
  // The MPI thread ends the process, or the rank that ends the job does. If neither comes to it,
  // MPI has got stuck, and this is left; mpirun ends the other ranks when it sees the code.
  std::this_thread::sleep_for(abort_limit);
  if (ending.ours) {
    print_reason(shared_, ending.reason);
  }
  ::_exit(static_cast<int>(ending.code));
}

}  // namespace

std::unique_ptr<Transport> make_mpi_transport(const MpiOptions& options) {
  return std::make_unique<MpiTransport>(options);
}

bool started_by_mpi_launcher() {
  for (const char* const name : {"OMPI_COMM_WORLD_SIZE", "PMI_RANK", "PMIX_RANK"}) {
    if (std::getenv(name) != nullptr) {
      return true;
    }
  }
  // Slurm sets SLURM_PROCID in the shell of sbatch and salloc too. A step of several tasks is
  // srun's doing, even one that offers MPI no way to find its peers: better to have MPI complain
  // than to run the whole job in every task.
  const char* const tasks = std::getenv("SLURM_STEP_NUM_TASKS");
  return std::getenv("SLURM_PROCID") != nullptr && std::getenv("SLURM_STEP_ID") != nullptr &&
         tasks != nullptr && std::atoi(tasks) > 1;
}

}  // namespace dualpipe
