#include "runtime/nccl/nccl_transport.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <exception>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <cuda_runtime_api.h>
#include <fmt/core.h>
#include <nccl.h>
#include <stdlib.h>  // setenv

#include "costs/check.h"
#include "costs/error.h"
#include "runtime/collectives.h"
#include "runtime/cuda/cuda_device.h"
#include "runtime/cuda/cuda_error.h"
#include "runtime/cuda/cuda_handles.h"
#include "runtime/device.h"
#include "runtime/last_resort.h"
#include "runtime/nccl/communicators.h"
#include "runtime/nccl/gpu_of_rank.h"
#include "runtime/nccl/nccl_end.h"
#include "runtime/operations.h"
#include "runtime/status.h"
#include "runtime/transport.h"
#include "runtime/watchdog.h"
#include "scheduler/program.h"

namespace dualpipe {
namespace {

using Clock = std::chrono::steady_clock;

constexpr Ticket on_device = Ticket{1} << 63;  // marks our tickets, the others are inner ones
constexpr std::size_t trial_bytes = 64;
constexpr int polls_yielding = 200;
constexpr std::chrono::microseconds poll_pause{20};
constexpr std::chrono::milliseconds revoke_max{700};  // of abort()'s second
constexpr std::chrono::seconds grace{10};             // for a failed process to end by itself

std::size_t at(int index) {
  return static_cast<std::size_t>(index);
}

int place_of(int rank, const Communicator& communicator) {
  const auto found = std::ranges::find(communicator.members, rank);
  CHECK(found != communicator.members.end());
  return static_cast<int>(found - communicator.members.begin());
}

// Has NCCL take the process for a host of its own (NCCL_HOSTID), or else it refuses two processes
// on one GPU. Between hosts it finds nothing but sockets then, and is not to look for more: what it
// finds may be a network or a fabric that does not lead back to the same GPU.
void let_processes_share_gpus(int rank) {
  ::setenv("NCCL_HOSTID", fmt::format("dualpipe-{}", rank).c_str(), 0);
  ::setenv("NCCL_NET", "Socket", 0);
  ::setenv("NCCL_MNNVL_ENABLE", "0", 0);
}

// One posted operation, until NCCL has it.
struct Posted {
  NcclEnd* end = nullptr;
  bool sends = false;
  int peer = 0;  // its number in the communicator
  std::span<const std::byte> outgoing;
  std::span<std::byte> incoming;
  Ticket ticket = 0;
};

// The GPU's part of one operation. It stays when the operation is done, for the next one.
struct Events {
  CudaEvent ready;  // the compute stream had come to the posting
  CudaEvent done;
};

class NcclTransport final : public Transport {
 public:
  NcclTransport(std::unique_ptr<Transport> inner, const Program& program,
                const NcclOptions& options)
      : inner_(std::move(inner)),
        program_(program),
        options_(options),
        waits_(program, *inner_, options.timeout),
        plan_(program) {}
  NcclTransport(const NcclTransport&) = delete;
  NcclTransport& operator=(const NcclTransport&) = delete;
  ~NcclTransport() override;

  // Called once, before anything else.
  void open();

  [[nodiscard]] int rank() const override { return inner_->rank(); }
  [[nodiscard]] int ranks() const override { return inner_->ranks(); }
  [[nodiscard]] std::string_view name() const override { return "nccl"; }
  [[nodiscard]] Device& device() override { return *device_; }

  [[nodiscard]] Ticket post_send(int destination, MessageClass message_class,
                                 std::span<const std::byte> message) override {
    if (message_class == MessageClass::control) {
      return inner_->post_send(destination, message_class, message);
    }
    return post(find(rank(), destination, message_class), message_class,
                {.sends = true, .peer = destination, .outgoing = message, .incoming = {}});
  }
  [[nodiscard]] Ticket post_receive(int source, MessageClass message_class,
                                    std::span<std::byte> message) override {
    if (message_class == MessageClass::control) {
      return inner_->post_receive(source, message_class, message);
    }
    return post(find(source, rank(), message_class), message_class,
                {.sends = false, .peer = source, .outgoing = {}, .incoming = message});
  }
  void end_group() override {
    issue(pending_);
    pending_.clear();
  }
  [[nodiscard]] bool wait(Ticket ticket, Deadline deadline) override;
  void check() override;

  [[nodiscard]] StatusPage& status() override { return inner_->status(); }
  [[nodiscard]] std::optional<std::vector<std::optional<RankStatus>>> collect_status(
      Deadline deadline) override {
    return inner_->collect_status(deadline);
  }
  void abort(ExitCode code, const std::string& reason) noexcept override;

 private:
  [[nodiscard]] std::vector<std::string> tell_all(const std::string& word) const;
  void choose_device();
  [[nodiscard]] std::vector<ncclUniqueId> share_ids() const;
  void open_communicators(const std::vector<ncclUniqueId>& ids);
  void try_routes();

  [[nodiscard]] std::size_t find(int source, int destination, MessageClass message_class) const;
  [[nodiscard]] Ticket post(std::size_t communicator, MessageClass message_class, Posted posted);
  void issue(std::span<const Posted> group);
  void settle(NcclEnd& end) const;
  void close();

  std::unique_ptr<Transport> inner_;
  // Ends the process should NCCL or CUDA get stuck on the way out: so all of theirs goes before it.
  // `inner_` goes after it: that one waits for ranks that are still at work, longer than NCCL may.
  std::unique_ptr<LastResort> last_resort_;
  const Program& program_;
  NcclOptions options_;
  BoundedWait waits_;  // for control messages, while opening
  CommunicatorPlan plan_;
  std::unique_ptr<CudaDevice> device_;
  std::vector<std::unique_ptr<NcclEnd>> ends_;  // [communicator]; null where no member
  Operations operations_;
  std::vector<std::unique_ptr<Events>> events_{Operations::outstanding_max};  // [place]
  std::vector<Posted> pending_;  // of the group that has not ended
  std::atomic_flag failed_;
  std::atomic<bool> revoked_ = false;
  std::jthread revoking_;
};

// --- opening ---

void NcclTransport::open() {
  check_group_sizes(program_);
  check_connections(plan_);
  choose_device();
  open_communicators(share_ids());
  try_routes();
}

// What every rank says, [rank]. Requires: no line breaks in it.
std::vector<std::string> NcclTransport::tell_all(const std::string& word) const {
  const std::string line = word + '\n';
  std::vector<std::byte> all;
  for (const std::vector<std::byte>& one : gather(waits_, std::as_bytes(std::span(line)))) {
    all.insert(all.end(), one.begin(), one.end());
  }
  std::vector<std::string> words(1);
  for (const std::byte letter : broadcast(waits_, all)) {
    if (static_cast<char>(letter) == '\n') {
      words.emplace_back();
    } else {
      words.back() += static_cast<char>(letter);
    }
  }
  words.pop_back();
  return words;
}

void NcclTransport::choose_device() {
  const std::vector<std::string> hosts = tell_all(host_identity());
  device_ = std::make_unique<CudaDevice>(gpu_of_rank(hosts, rank(), gpu_count()));
  const std::vector<std::string> bus_ids = tell_all(device_->bus_id());
  std::vector<ChosenGpu> gpus;
  for (std::size_t rank = 0; rank < hosts.size(); ++rank) {
    gpus.push_back({.host = hosts[rank], .bus_id = bus_ids[rank]});
  }
  if (share_a_gpu(gpus, options_.share_gpus)) {
    let_processes_share_gpus(rank());
  }
  int sms = 0;
  require(cudaDeviceGetAttribute(&sms, cudaDevAttrMultiProcessorCount, device_->ordinal()),
          "asking for its size");
  if (options_.reserved_sms > sms) {
    throw Error(ExitCode::usage, fmt::format("--reserved-sms {}: GPU {} has only {}",
                                             options_.reserved_sms, device_->ordinal(), sms));
  }
}

// The first member of each communicator makes its id; rank 0 tells everyone all of them, which is
// [communicator].
std::vector<ncclUniqueId> NcclTransport::share_ids() const {
  const std::span<const Communicator> communicators = plan_.communicators();
  std::vector<ncclUniqueId> own;
  for (const Communicator& communicator : communicators) {
    if (communicator.members.front() == rank()) {
      const ncclResult_t result = ncclGetUniqueId(&own.emplace_back());
      if (result != ncclSuccess) {
        throw Error(ExitCode::transport, "NCCL: making an id: " + describe(result));
      }
    }
  }
  std::vector<std::vector<std::byte>> gathered = gather(waits_, std::as_bytes(std::span(own)));
  std::vector<ncclUniqueId> all(communicators.size());
  if (rank() == 0) {
    std::vector<std::size_t> next(gathered.size(), 0);
    for (std::size_t index = 0; index < all.size(); ++index) {
      const std::size_t maker = at(communicators[index].members.front());
      CHECK(next[maker] + sizeof(ncclUniqueId) <= gathered[maker].size());
      std::memcpy(&all[index], gathered[maker].data() + next[maker], sizeof(ncclUniqueId));
      next[maker] += sizeof(ncclUniqueId);
    }
  }
  const std::vector<std::byte> told = broadcast(waits_, std::as_bytes(std::span(all)));
  if (told.size() != all.size() * sizeof(ncclUniqueId)) {
    throw Error(ExitCode::transport, "the ranks have different programs: other communicators");
  }
  if (!told.empty()) {
    std::memcpy(all.data(), told.data(), told.size());
  }
  return all;
}

void NcclTransport::open_communicators(const std::vector<ncclUniqueId>& ids) {
  device_->make_current();
  const int ctas = ctas_per_communicator(plan_, options_.reserved_sms);
  for (std::size_t index = 0; index < ids.size(); ++index) {
    const Communicator& communicator = plan_.communicators()[index];
    std::unique_ptr<NcclEnd>& end = ends_.emplace_back();
    if (std::ranges::find(communicator.members, rank()) != communicator.members.end()) {
      end = std::make_unique<NcclEnd>(
          NcclEnd::Place{.name = communicator.name,
                         .members = static_cast<int>(communicator.members.size()),
                         .number = place_of(rank(), communicator),
                         .ctas_max = ctas},
          ids[index]);
      settle(*end);
    }
  }
}

void NcclTransport::try_routes() {
  const DeviceMemory memory(*device_, trial_bytes);
  device_->reserve_marks(1);
  for (const Route& route : plan_.routes()) {
    if (route.source != rank() && route.destination != rank()) {
      continue;
    }
    const bool sends = route.source == rank();
    const Communicator& communicator = plan_.communicators()[route.communicator];
    Posted trial{.end = ends_[route.communicator].get(),
                 .sends = sends,
                 .peer = place_of(sends ? route.destination : route.source, communicator),
                 .outgoing = memory.bytes(),
                 .incoming = memory.bytes(),
                 .ticket = operations_.open()};
    events_[Operations::place(trial.ticket)] = std::make_unique<Events>();
    events_[Operations::place(trial.ticket)]->ready.record(device_->stream());
    issue({&trial, 1});
    CHECK(wait(trial.ticket | on_device, {}));
    device_->mark(0);
    const Deadline deadline = Clock::now() + options_.timeout;
    while (!device_->wait(0, std::min(deadline, Clock::now() + std::chrono::milliseconds(20)))) {
      check();
      if (Clock::now() >= deadline) {
        throw Error(ExitCode::timeout,
                    fmt::format("NCCL communicator '{}': no first message {}->{} within {:g} s",
                                communicator.name, route.source, route.destination,
                                std::chrono::duration<double>(options_.timeout).count()));
      }
    }
  }
}

// --- messages ---

std::size_t NcclTransport::find(int source, int destination, MessageClass message_class) const {
  const int found = plan_.find(source, destination, message_class);
  CHECK(found != CommunicatorPlan::none);
  return at(found);
}

Ticket NcclTransport::post(std::size_t communicator, MessageClass message_class, Posted posted) {
  device_->make_current();
  posted.end = ends_[communicator].get();
  posted.peer = place_of(posted.peer, plan_.communicators()[communicator]);
  posted.ticket = operations_.open();
  std::unique_ptr<Events>& events = events_[Operations::place(posted.ticket)];
  if (!events) {
    events = std::make_unique<Events>();
  }
  events->ready.record(device_->stream());
  if (program_.semantics().grouped || message_class == MessageClass::replica) {
    pending_.push_back(posted);
  } else {
    issue({&posted, 1});
  }
  return posted.ticket | on_device;
}

// Single operations go as groups of one: alone that does not block a communicator that is not to.
void NcclTransport::issue(std::span<const Posted> group) {
  if (group.empty()) {
    return;
  }
  device_->make_current();
  for (const Posted& posted : group) {
    events_[Operations::place(posted.ticket)]->ready.hold_back(posted.end->stream());
  }
  ncclGroupStart();
  try {
    for (const Posted& posted : group) {
      if (posted.sends) {
        posted.end->send(posted.outgoing, posted.peer);
      } else {
        posted.end->receive(posted.incoming, posted.peer);
      }
    }
  } catch (const Error&) {
    ncclGroupEnd();  // What follows is not to be part of it.
    throw;
  }
  const ncclResult_t result = ncclGroupEnd();
  if (result != ncclSuccess && result != ncclInProgress) {
    throw Error(ExitCode::transport, "NCCL: starting operations: " + describe(result));
  }
  for (const Posted& posted : group) {
    settle(*posted.end);
  }
  for (const Posted& posted : group) {
    events_[Operations::place(posted.ticket)]->done.record(posted.end->stream());
    operations_.finish(posted.ticket);
  }
}

void NcclTransport::settle(NcclEnd& end) const {
  const Deadline deadline = Clock::now() + options_.timeout;
  for (int polls = 0; !end.is_settled(); ++polls) {
    inner_->check();
    if (Clock::now() >= deadline) {
      throw Error(
          ExitCode::timeout,
          fmt::format("rank {}: NCCL communicator '{}' does not come forward for {:g} s: "
                      "its other end is missing",
                      rank(), end.name(), std::chrono::duration<double>(options_.timeout).count()));
    }
    if (polls < polls_yielding) {
      std::this_thread::yield();
    } else {
      std::this_thread::sleep_for(poll_pause);
    }
  }
}

bool NcclTransport::wait(Ticket ticket, Deadline deadline) {
  if ((ticket & on_device) == 0) {
    return inner_->wait(ticket, deadline);
  }
  if (!operations_.wait(ticket & ~on_device, deadline)) {
    return false;
  }
  device_->make_current();
  events_[Operations::place(ticket & ~on_device)]->done.hold_back(device_->stream());
  return true;
}

// What the aborter says goes before what NCCL makes of it.
void NcclTransport::check() {
  inner_->check();
  operations_.check();
  for (const std::unique_ptr<NcclEnd>& end : ends_) {
    if (end) {
      static_cast<void>(end->is_settled());
    }
  }
}

// --- the end ---

void NcclTransport::abort(ExitCode code, const std::string& reason) noexcept {
  if (!failed_.test_and_set()) {
    last_resort_ = std::make_unique<LastResort>(grace, code, "NCCL does not let go");
    operations_.close(code, reason);
    revoking_ = std::jthread([this] {
      for (const std::unique_ptr<NcclEnd>& end : ends_) {
        if (end) {
          end->revoke();
        }
      }
      revoked_ = true;
    });
    const auto is_quiet = [this] {
      return revoked_ && std::ranges::all_of(ends_, [](const std::unique_ptr<NcclEnd>& end) {
               return !end || end->is_idle();
             });
    };
    const Deadline deadline = Clock::now() + revoke_max;
    while (!is_quiet() && Clock::now() < deadline) {
      std::this_thread::sleep_for(poll_pause);
    }
  }
  inner_->abort(code, reason);
}

// Every communicator asks for its end before any waits for it: ranks close theirs in any order.
void NcclTransport::close() {
  for (const std::unique_ptr<NcclEnd>& end : ends_) {
    if (end) {
      end->finish();
    }
  }
  for (const std::unique_ptr<NcclEnd>& end : ends_) {
    if (end) {
      settle(*end);
      end->destroy();
    }
  }
}

NcclTransport::~NcclTransport() {
  if (const std::size_t outstanding = operations_.outstanding(); outstanding > 0) {
    abort(ExitCode::transport,
          fmt::format("rank {} ended with {} operations under way", rank(), outstanding));
  }
  bool aborted = failed_.test();
  if (!aborted) {
    last_resort_ =
        std::make_unique<LastResort>(grace, ExitCode::transport, "closing NCCL got stuck");
    try {
      close();
    } catch (const Error&) {  // A peer has gone before us; what there was to send has been sent.
      aborted = true;
    }
  }
  if (aborted) {
    if (revoking_.joinable()) {
      revoking_.join();
    }
    for (const std::unique_ptr<NcclEnd>& end : ends_) {
      if (end) {
        end->abort();
      }
    }
  }
}

}  // namespace

void prepare_nccl_environment() {
  prepare_cuda_environment();
  ::setenv("CUDA_MODULE_LOADING", "EAGER", 0);
  ::setenv("NCCL_LAUNCH_ORDER_IMPLICIT", "0", 0);
}

std::unique_ptr<Transport> make_nccl_transport(std::unique_ptr<Transport> inner,
                                               const Program& program, const NcclOptions& options) {
  auto transport = std::make_unique<NcclTransport>(std::move(inner), program, options);
  try {
    transport->open();
  } catch (const Error& error) {
    transport->abort(error.code(), error.what());
    throw;
  } catch (const std::exception& error) {
    transport->abort(ExitCode::internal_error, error.what());
    throw;
  }
  return transport;
}

}  // namespace dualpipe
