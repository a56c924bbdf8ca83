#include "runtime/inproc_transport.h"

#include <atomic>
#include <cstddef>
#include <cstring>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/core.h>

#include "costs/check.h"
#include "costs/error.h"
#include "runtime/cpu_device.h"
#include "runtime/device.h"
#include "runtime/operations.h"
#include "runtime/status.h"
#include "runtime/transport.h"

namespace dualpipe {
namespace {

constexpr std::size_t message_classes = 4;

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

// The ends that wait for their other end. All of them are sends or all are receives: an end that
// finds one of the other kind takes it away instead of queueing.
struct Lane {
  std::mutex mutex;  // held during the copy too: closing the lane waits for it
  Posted* first = nullptr;
  Posted* last = nullptr;
  bool closed = false;
};

struct Member {
  StatusPage status;
  Operations operations;
  std::vector<Posted> posted{Operations::outstanding_max};  // [Operations::place(ticket)]
};

// What the ranks share.
class Hub {
 public:
  explicit Hub(int ranks)
      : members_(static_cast<std::size_t>(ranks)),
        lanes_(members_.size() * members_.size() * message_classes) {}

  [[nodiscard]] int ranks() const { return static_cast<int>(members_.size()); }
  [[nodiscard]] Member& member(int rank) { return members_[static_cast<std::size_t>(rank)]; }

  [[nodiscard]] Ticket post(Posted end, int peer, MessageClass message_class);
  [[nodiscard]] bool claim_report(int rank);
  void abort(ExitCode code, const std::string& reason);

 private:
  [[nodiscard]] Lane& lane(int source, int destination, MessageClass message_class) {
    const std::size_t pair =
        static_cast<std::size_t>(source) * members_.size() + static_cast<std::size_t>(destination);
    return lanes_[pair * message_classes + static_cast<std::size_t>(message_class)];
  }
  void settle(const Posted& send, const Posted& receive, MessageClass message_class);

  std::vector<Member> members_;
  std::vector<Lane> lanes_;  // [source][destination][class]
  std::atomic<int> reporter_{-1};
  std::mutex abort_mutex_;
  bool aborted_ = false;
};

Ticket Hub::post(Posted end, int peer, MessageClass message_class) {
  CHECK(0 <= peer && peer < ranks() && peer != end.rank);
  Member& owner = member(end.rank);
  end.ticket = owner.operations.open();
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
    const Posted& send = end.sends ? end : other;
    const Posted& receive = end.sends ? other : end;
    if (send.size() == receive.size() && send.size() > 0) {
      std::memcpy(receive.incoming.data(), send.outgoing.data(), send.size());
    }
  }
  settle(end.sends ? end : other, end.sends ? other : end, message_class);
  return end.ticket;
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

bool Hub::claim_report(int rank) {
  int reporter = -1;
  return reporter_.compare_exchange_strong(reporter, rank) || reporter == rank;
}

// Nobody hears of the abort before the last lane is closed: whoever does may free its buffers.
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
  for (Member& member : members_) {
    member.operations.close(code, reason);
  }
}

class InprocTransport final : public Transport {
 public:
  InprocTransport(std::shared_ptr<Hub> hub, int rank)
      : hub_(std::move(hub)), rank_(rank), own_(hub_->member(rank)) {}
  InprocTransport(const InprocTransport&) = delete;
  InprocTransport& operator=(const InprocTransport&) = delete;

  // A rank that leaves in the middle would leave its peers waiting, and its buffers with them.
  ~InprocTransport() override {
    if (const std::size_t outstanding = own_.operations.outstanding(); outstanding > 0) {
      abort(ExitCode::transport,
            fmt::format("rank {} ended with {} operations under way", rank_, outstanding));
    }
  }

  [[nodiscard]] int rank() const override { return rank_; }
  [[nodiscard]] int ranks() const override { return hub_->ranks(); }
  [[nodiscard]] std::string_view name() const override { return "inproc"; }
  [[nodiscard]] Device& device() override { return device_; }

  [[nodiscard]] Ticket post_send(int destination, MessageClass message_class,
                                 std::span<const std::byte> message) override {
    return hub_->post({.sends = true, .outgoing = message, .incoming = {}, .rank = rank_},
                      destination, message_class);
  }
  [[nodiscard]] Ticket post_receive(int source, MessageClass message_class,
                                    std::span<std::byte> message) override {
    return hub_->post({.sends = false, .outgoing = {}, .incoming = message, .rank = rank_}, source,
                      message_class);
  }
  [[nodiscard]] bool wait(Ticket ticket, Deadline deadline) override {
    return own_.operations.wait(ticket, deadline);
  }

  void end_group() override {}
  void check() override { own_.operations.check(); }

  [[nodiscard]] StatusPage& status() override { return own_.status; }
  // Reads the pages directly, so every rank answers and at once.
  [[nodiscard]] std::optional<std::vector<std::optional<RankStatus>>> collect_status(
      Deadline /*deadline*/) override {
    if (!hub_->claim_report(rank_)) {
      return std::nullopt;
    }
    std::vector<std::optional<RankStatus>> statuses;
    for (int rank = 0; rank < hub_->ranks(); ++rank) {
      statuses.emplace_back(hub_->member(rank).status.read());
    }
    return statuses;
  }

  void abort(ExitCode code, const std::string& reason) noexcept override {
    hub_->abort(code, reason);
  }

 private:
  std::shared_ptr<Hub> hub_;
  int rank_;
  Member& own_;
  CpuDevice device_;
};

}  // namespace

std::vector<std::unique_ptr<Transport>> make_inproc_transports(int ranks) {
  CHECK(ranks > 0);
  const std::shared_ptr<Hub> hub = std::make_shared<Hub>(ranks);
  std::vector<std::unique_ptr<Transport>> transports;
  for (int rank = 0; rank < ranks; ++rank) {
    transports.push_back(std::make_unique<InprocTransport>(hub, rank));
  }
  return transports;
}

}  // namespace dualpipe
