#include "runtime/inproc_transport.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
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
#include "runtime/host_cores.h"
#include "runtime/operations.h"
#include "runtime/status.h"
#include "runtime/transport.h"

namespace dualpipe {
namespace {

// One end of a transfer that has been posted.
struct Posted {
  bool sends = false;
  std::span<const std::byte> outgoing;
  std::span<std::byte> incoming;
  int rank = 0;
  Ticket ticket = 0;

  [[nodiscard]] std::size_t size() const { return sends ? outgoing.size() : incoming.size(); }
};

// Where message k of a channel and receive k meet, without a lock: whoever comes first leaves its
// end in place k, whoever comes second finds it there, copies, and clears the place. A rank has at
// most outstanding_max operations under way, so that place k is clear again before k +
// outstanding_max is posted. Made when the channel is first used.
using Meeting = std::array<std::atomic<Posted*>, Operations::outstanding_max>;

struct Lane {
  ~Lane() { delete meeting.load(); }

  std::atomic<Meeting*> meeting{nullptr};
  std::uint64_t sends = 0;     // posted so far; the source's thread alone knows
  std::uint64_t receives = 0;  // likewise the destination's

  [[nodiscard]] std::atomic<Posted*>& place_of_next(bool send) {
    const std::uint64_t number = send ? sends++ : receives++;
    return meeting_there()[number % Operations::outstanding_max];
  }

 private:
  // Both ends may come first.
  [[nodiscard]] Meeting& meeting_there() {
    Meeting* there = meeting.load();
    if (there == nullptr) {
      std::unique_ptr<Meeting> made = std::make_unique<Meeting>();
      if (meeting.compare_exchange_strong(there, made.get())) {
        there = made.release();
      }
    }
    return *there;
  }
};

// All lanes between a rank and a lower one. Made when first used, and then kept: there is no room
// for those of every two ranks where there are thousands.
struct LanesToLower {
  explicit LanesToLower(int lower_rank) : lower(lower_rank) {}

  int lower;
  std::array<std::array<Lane, message_class_count>, 2> lanes;  // [upwards, downwards][class]
  LanesToLower* next = nullptr;  // of the same rank; const once others can see it
};

struct Member {
  ~Member() {
    for (LanesToLower* lanes = lanes_to_lower.load(); lanes != nullptr;) {
      delete std::exchange(lanes, lanes->next);
    }
  }

  // Any thread.
  [[nodiscard]] LanesToLower& lanes_to(int lower);

  std::atomic<LanesToLower*> lanes_to_lower{nullptr};  // a list, the newest first
  StatusPage status;
  Operations operations;
  std::vector<Posted> posted{Operations::outstanding_max};  // [Operations::place(ticket)]
  std::atomic<bool> copies{false};  // its thread may be touching the buffers of both ends
};

// Those to one rank, of the lanes before `end`; null where there are none.
LanesToLower* find_lanes(LanesToLower* lanes, const LanesToLower* end, int lower) {
  while (lanes != end && lanes->lower != lower) {
    lanes = lanes->next;
  }
  return lanes == end ? nullptr : lanes;
}

LanesToLower& Member::lanes_to(int lower) {
  LanesToLower* newest = lanes_to_lower.load();
  if (LanesToLower* const found = find_lanes(newest, nullptr, lower)) {
    return *found;
  }
  auto made = std::make_unique<LanesToLower>(lower);
  made->next = newest;
  while (!lanes_to_lower.compare_exchange_strong(newest, made.get())) {
    // Somebody else was faster, perhaps the other end of the same lane.
    if (LanesToLower* const found = find_lanes(newest, made->next, lower)) {
      return *found;
    }
    made->next = newest;
  }
  return *made.release();
}

// So many threads, and a core for each: then none takes anything from another by looking for its
// message rather than sleeping.
bool cores_for(int threads) {
  return count_cores(own_cores()) >= threads;
}

constexpr double gibibyte = 1024.0 * 1024.0 * 1024.0;
constexpr std::chrono::microseconds patience{50};  // about what being woken takes

// What the ranks share.
class Hub {
 public:
  explicit Hub(int ranks) : members_(static_cast<std::size_t>(ranks)) {
    if (cores_for(ranks)) {
      for (Member& member : members_) {
        member.operations.set_patience(patience);
      }
    }
  }

  [[nodiscard]] int ranks() const { return static_cast<int>(members_.size()); }
  [[nodiscard]] Member& member(int rank) { return members_[static_cast<std::size_t>(rank)]; }

  [[nodiscard]] Ticket post(Posted end, int peer, MessageClass message_class);
  [[nodiscard]] bool claim_report(int rank);
  void abort(ExitCode code, const std::string& reason);

 private:
  [[nodiscard]] Lane& lane(int source, int destination, MessageClass message_class) {
    const auto [lower, higher] = std::minmax(source, destination);
    const std::size_t downwards = source == higher ? 1 : 0;
    return member(higher).lanes_to(lower).lanes[downwards][static_cast<std::size_t>(message_class)];
  }
  [[nodiscard]] bool move(Member& mover, const Posted& send, const Posted& receive);
  void settle(const Posted& send, const Posted& receive, MessageClass message_class);

  std::vector<Member> members_;
  std::atomic<bool> closed_{false};
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
  std::atomic<Posted*>& place = lane.place_of_next(end.sends);
  Posted* other_end = nullptr;
  if (place.compare_exchange_strong(other_end, &mine)) {
    return end.ticket;
  }
  const Posted other = *other_end;
  CHECK(other.sends != end.sends);
  place.store(nullptr);
  const Posted& send = end.sends ? end : other;
  const Posted& receive = end.sends ? other : end;
  if (move(owner, send, receive)) {
    settle(send, receive, message_class);
  }
  return end.ticket;
}

// False when the job is being aborted: then the buffers may be gone. Either abort() sees that the
// mover is at it and waits, or the mover sees that the hub is closed: both orders are sequentially
// consistent.
bool Hub::move(Member& mover, const Posted& send, const Posted& receive) {
  mover.copies.store(true);
  const bool may_touch = !closed_.load();
  if (may_touch && send.size() == receive.size() && send.size() > 0) {
    std::memcpy(receive.incoming.data(), send.outgoing.data(), send.size());
  }
  mover.copies.store(false);
  return may_touch;
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

// Nobody hears of the abort before the last copy is over: whoever does may free its buffers.
void Hub::abort(ExitCode code, const std::string& reason) {
  const std::scoped_lock lock(abort_mutex_);
  if (std::exchange(aborted_, true)) {
    return;
  }
  closed_.store(true);
  for (const Member& member : members_) {
    while (member.copies.load()) {
      std::this_thread::yield();
    }
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

// What a rank takes before it has sent anything.
constexpr std::size_t bytes_of_rank =
    sizeof(Member) + Operations::outstanding_max * (sizeof(Posted) + Operations::bytes_each());

// Memory that a process has asked for is not always memory that it gets.
void require_memory_for(int ranks) {
  const double needed = static_cast<double>(ranks) * static_cast<double>(bytes_of_rank);
  const double there =
      static_cast<double>(::sysconf(_SC_PHYS_PAGES)) * static_cast<double>(::sysconf(_SC_PAGESIZE));
  if (needed > there) {
    throw Error(ExitCode::infeasible,
                fmt::format("{} ranks on threads of one process need {:.1f} GiB to communicate, "
                            "and this host has {:.1f} GiB: take fewer ranks, or processes on "
                            "several hosts",
                            ranks, needed / gibibyte, there / gibibyte));
  }
}

}  // namespace

std::vector<std::unique_ptr<Transport>> make_inproc_transports(int ranks) {
  CHECK(ranks > 0);
  require_memory_for(ranks);
  const std::shared_ptr<Hub> hub = std::make_shared<Hub>(ranks);
  std::vector<std::unique_ptr<Transport>> transports;
  for (int rank = 0; rank < ranks; ++rank) {
    transports.push_back(std::make_unique<InprocTransport>(hub, rank));
  }
  return transports;
}

}  // namespace dualpipe
