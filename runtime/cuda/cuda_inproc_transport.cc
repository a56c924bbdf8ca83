#include "runtime/cuda/cuda_inproc_transport.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <cuda_runtime_api.h>
#include <driver_types.h>
#include <fmt/core.h>

#include "costs/check.h"
#include "costs/error.h"
#include "runtime/cuda/cuda_device.h"
#include "runtime/cuda/cuda_error.h"
#include "runtime/cuda/cuda_handles.h"
#include "runtime/device.h"
#include "runtime/inproc_transport.h"
#include "runtime/operations.h"
#include "runtime/status.h"
#include "runtime/transport.h"

namespace dualpipe {
namespace {

constexpr std::size_t message_classes = 3;           // in device memory: all but control
constexpr Ticket on_device = Ticket{1} << 63;        // marks our tickets, the others are inner ones
constexpr std::chrono::milliseconds drain_max{500};  // for copies under way when a job is aborted

// The GPU's part of one posted operation. It stays when the operation is done, for the next one.
struct Events {
  CudaEvent ready;                  // the owner's compute stream had come to the posting
  CudaEvent copied;                 // of receives: the message is there
  const CudaEvent* done = nullptr;  // `copied` of the receive that this operation met
};

// One end of a transfer that has been posted.
struct Posted {
  bool sends = false;
  std::span<const std::byte> outgoing;
  std::span<std::byte> incoming;
  int rank = 0;
  Ticket ticket = 0;
  Posted* next = nullptr;  // in the channel

  [[nodiscard]] std::size_t size() const { return sends ? outgoing.size() : incoming.size(); }
};

// The ends that wait for their other end: all of them sends, or all of them receives.
struct Lane {
  std::mutex mutex;
  Posted* first = nullptr;
  Posted* last = nullptr;
  bool closed = false;
};

struct Member {
  explicit Member(int gpu) : device(gpu) {}

  CudaDevice device;
  CudaStream stream;  // for what this rank receives
  std::mutex stream_mutex;
  Operations operations;
  std::vector<Posted> posted{Operations::outstanding_max};  // [Operations::place(ticket)]
  std::vector<std::unique_ptr<Events>> events{Operations::outstanding_max};  // likewise

  [[nodiscard]] Events& events_of(Ticket ticket) { return *events[Operations::place(ticket)]; }
};

// Copies between GPUs that can reach each other go straight then, not by way of the host; as many
// as a GPU may reach.
void connect_gpus(int gpus) {
  for (int one = 0; one < gpus; ++one) {
    require(cudaSetDevice(one), "choosing a GPU");
    for (int other = 0; other < gpus; ++other) {
      int can = 0;
      if (other != one) {
        require(cudaDeviceCanAccessPeer(&can, one, other), "asking what GPUs can reach");
      }
      if (can == 0) {
        continue;
      }
      const cudaError_t result = cudaDeviceEnablePeerAccess(other, 0);
      if (result == cudaErrorPeerAccessAlreadyEnabled || result == cudaErrorTooManyPeers) {
        static_cast<void>(cudaGetLastError());  // or it would be told again elsewhere
      } else {
        require(result, "letting GPUs reach each other");
      }
    }
  }
}

// What the ranks share.
class Hub {
 public:
  explicit Hub(int ranks)
      : lanes_(static_cast<std::size_t>(ranks) * static_cast<std::size_t>(ranks) *
               message_classes) {
    const int gpus = gpu_count();
    for (int rank = 0; rank < ranks; ++rank) {
      members_.push_back(std::make_unique<Member>(rank % gpus));
    }
    connect_gpus(std::min(ranks, gpus));
  }

  [[nodiscard]] int ranks() const { return static_cast<int>(members_.size()); }
  [[nodiscard]] Member& member(int rank) { return *members_[static_cast<std::size_t>(rank)]; }

  [[nodiscard]] Ticket post(Posted end, int peer, MessageClass message_class);
  void abort(ExitCode code, const std::string& reason);

 private:
  [[nodiscard]] Lane& lane(int source, int destination, MessageClass message_class) {
    const std::size_t pair =
        static_cast<std::size_t>(source) * members_.size() + static_cast<std::size_t>(destination);
    return lanes_[pair * message_classes + static_cast<std::size_t>(message_class)];
  }
  void copy(const Posted& send, const Posted& receive);
  void settle(const Posted& send, const Posted& receive, MessageClass message_class);
  void drain();

  std::vector<std::unique_ptr<Member>> members_;
  std::vector<Lane> lanes_;  // [source][destination][class]
  std::mutex abort_mutex_;
  bool aborted_ = false;
};

Ticket Hub::post(Posted end, int peer, MessageClass message_class) {
  CHECK(0 <= peer && peer < ranks() && peer != end.rank);
  Member& owner = member(end.rank);
  owner.device.make_current();
  end.ticket = owner.operations.open();
  std::unique_ptr<Events>& events = owner.events[Operations::place(end.ticket)];
  if (!events) {
    events = std::make_unique<Events>();
  }
  events->ready.record(owner.device.stream());
  Posted& mine = owner.posted[Operations::place(end.ticket)];
  mine = end;

  Lane& lane = end.sends ? this->lane(end.rank, peer, message_class)
                         : this->lane(peer, end.rank, message_class);
  Posted other;
  {
    const std::scoped_lock lock(lane.mutex);
    if (lane.closed) {
      return end.ticket;  // the wait will say why
    }
    if (lane.first == nullptr || lane.first->sends == end.sends) {
      (lane.first == nullptr ? lane.first : lane.last->next) = &mine;
      lane.last = &mine;
      return end.ticket;
    }
    other = *lane.first;
    lane.first = other.next;
    copy(end.sends ? end : other, end.sends ? other : end);
  }
  settle(end.sends ? end : other, end.sends ? other : end, message_class);
  return end.ticket;
}

// Asked for by whichever end comes second, for the receiver's GPU. A stream waits only for what was
// asked for earlier, here as everywhere, so no streams ever wait in a circle.
void Hub::copy(const Posted& send, const Posted& receive) {
  if (send.size() != receive.size()) {
    return;
  }
  Member& receiver = member(receive.rank);
  Events& sent = member(send.rank).events_of(send.ticket);
  Events& received = receiver.events_of(receive.ticket);
  const std::scoped_lock lock(receiver.stream_mutex);
  receiver.device.make_current();
  const cudaStream_t stream = receiver.stream.get();
  sent.ready.hold_back(stream);
  received.ready.hold_back(stream);
  if (send.size() > 0) {
    require(cudaMemcpyAsync(receive.incoming.data(), send.outgoing.data(), send.size(),
                            cudaMemcpyDefault, stream),
            "copying a message");
  }
  received.copied.record(stream);
  // The receiver may have set it anew, for a later message, before the sender comes to look: then
  // the sender waits for that copy, which is later than it needs but was asked for before.
  sent.done = &received.copied;
  received.done = &received.copied;
}

void Hub::settle(const Posted& send, const Posted& receive, MessageClass message_class) {
  Operations& sender = member(send.rank).operations;
  Operations& receiver = member(receive.rank).operations;
  if (send.size() == receive.size()) {
    sender.finish(send.ticket);
    receiver.finish(receive.ticket);
    return;
  }
  const std::string failure = fmt::format(
      "{} {}->{}: rank {} sent {} bytes where rank {} expected {}", to_string(message_class),
      send.rank, receive.rank, send.rank, send.size(), receive.rank, receive.size());
  sender.fail(send.ticket, failure);
  receiver.fail(receive.ticket, failure);
}

// Nobody hears of the abort before the last copy is done: whoever does may free its buffers.
void Hub::abort(ExitCode code, const std::string& reason) {
  const std::scoped_lock lock(abort_mutex_);
  if (std::exchange(aborted_, true)) {
    return;
  }
  for (Lane& lane : lanes_) {
    const std::scoped_lock lane_lock(lane.mutex);
    lane.closed = true;
    lane.first = nullptr;
  }
  drain();
  for (const std::unique_ptr<Member>& member : members_) {
    member->operations.close(code, reason);
  }
}

void Hub::drain() {
  const Deadline deadline = std::chrono::steady_clock::now() + drain_max;
  for (const std::unique_ptr<Member>& member : members_) {
    while (!member->stream.is_idle() && std::chrono::steady_clock::now() < deadline) {
      std::this_thread::yield();
    }
  }
}

class CudaInprocTransport final : public Transport {
 public:
  CudaInprocTransport(std::shared_ptr<Hub> hub, std::unique_ptr<Transport> inner)
      : hub_(std::move(hub)), inner_(std::move(inner)), own_(hub_->member(inner_->rank())) {}
  CudaInprocTransport(const CudaInprocTransport&) = delete;
  CudaInprocTransport& operator=(const CudaInprocTransport&) = delete;

  ~CudaInprocTransport() override {
    if (const std::size_t outstanding = own_.operations.outstanding(); outstanding > 0) {
      abort(ExitCode::transport,
            fmt::format("rank {} ended with {} operations under way", rank(), outstanding));
    }
  }

  [[nodiscard]] int rank() const override { return inner_->rank(); }
  [[nodiscard]] int ranks() const override { return inner_->ranks(); }
  [[nodiscard]] std::string_view name() const override { return "cuda-inproc"; }
  [[nodiscard]] Device& device() override { return own_.device; }

  [[nodiscard]] Ticket post_send(int destination, MessageClass message_class,
                                 std::span<const std::byte> message) override {
    if (message_class == MessageClass::control) {
      return inner_->post_send(destination, message_class, message);
    }
    return on_device |
           hub_->post({.sends = true, .outgoing = message, .incoming = {}, .rank = rank()},
                      destination, message_class);
  }
  [[nodiscard]] Ticket post_receive(int source, MessageClass message_class,
                                    std::span<std::byte> message) override {
    if (message_class == MessageClass::control) {
      return inner_->post_receive(source, message_class, message);
    }
    return on_device |
           hub_->post({.sends = false, .outgoing = {}, .incoming = message, .rank = rank()}, source,
                      message_class);
  }
  void end_group() override {}

  [[nodiscard]] bool wait(Ticket ticket, Deadline deadline) override {
    if ((ticket & on_device) == 0) {
      return inner_->wait(ticket, deadline);
    }
    if (!own_.operations.wait(ticket & ~on_device, deadline)) {
      return false;
    }
    own_.device.make_current();
    own_.events_of(ticket & ~on_device).done->hold_back(own_.device.stream());
    return true;
  }

  void check() override { own_.operations.check(); }
  [[nodiscard]] StatusPage& status() override { return inner_->status(); }
  [[nodiscard]] std::optional<std::vector<std::optional<RankStatus>>> collect_status(
      Deadline deadline) override {
    return inner_->collect_status(deadline);
  }
  void abort(ExitCode code, const std::string& reason) noexcept override {
    hub_->abort(code, reason);
    inner_->abort(code, reason);
  }

 private:
  std::shared_ptr<Hub> hub_;
  std::unique_ptr<Transport> inner_;
  Member& own_;
};

}  // namespace

std::vector<std::unique_ptr<Transport>> make_cuda_inproc_transports(int ranks) {
  CHECK(ranks > 0);
  const std::shared_ptr<Hub> hub = std::make_shared<Hub>(ranks);
  std::vector<std::unique_ptr<Transport>> transports;
  for (std::unique_ptr<Transport>& inner : make_inproc_transports(ranks)) {
    transports.push_back(std::make_unique<CudaInprocTransport>(hub, std::move(inner)));
  }
  return transports;
}

}  // namespace dualpipe
