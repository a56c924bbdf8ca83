#include "runtime/fault_transport.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <list>
#include <map>
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
#include <signal.h>
#include <unistd.h>

#include "costs/check.h"
#include "costs/error.h"
#include "runtime/device.h"
#include "runtime/fault.h"
#include "runtime/models/random.h"
#include "runtime/status.h"
#include "runtime/transport.h"

namespace dualpipe {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::minutes dead_limit{10};             // for the others to notice a death
constexpr std::chrono::milliseconds duplicate_limit{100};  // for a duplicate to leave, at the end

enum class Death : std::uint8_t { stops_the_thread, kills_the_process };

// What the ranks of one process know of each other.
struct Fate {
  std::mutex mutex;
  std::condition_variable ended;
  std::optional<std::pair<ExitCode, std::string>> ending;
};

bool alters_messages(Fault::Kind kind) {
  return kind == Fault::Kind::duplicate || kind == Fault::Kind::truncate ||
         kind == Fault::Kind::corrupt;
}

// What is to happen to one message.
struct Treatment {
  std::chrono::nanoseconds delay{};
  bool to_be_overtaken = false;
  bool duplicated = false;
  bool dropped = false;
  std::optional<std::size_t> bytes_kept;
  std::optional<std::size_t> bit_flipped;
  std::chrono::nanoseconds pause{};
  bool deadly = false;

  [[nodiscard]] bool alters() const { return duplicated || bytes_kept || bit_flipped; }
};

// The lots: what the plan does to each message of one rank, in the order in which it sends them.
class Lots {
 public:
  Lots(const FaultPlan& plan, int rank)
      : faults_(plan.faults), counted_(plan.faults.size(), 0), rank_(rank) {
    const RandomStream own =
        RandomStream{plan.seed}.named("faults").child(static_cast<std::uint64_t>(rank));
    for (std::size_t fault = 0; fault < faults_.size(); ++fault) {
      streams_.push_back(own.child(fault));
    }
  }

  Treatment next(MessageClass message_class, std::size_t bytes) {
    Treatment treatment;
    for (std::size_t fault = 0; fault < faults_.size(); ++fault) {
      if (!faults_[fault].concerns(rank_, message_class)) {
        continue;
      }
      const std::uint64_t number = counted_[fault]++;
      const RandomStream lot = streams_[fault].child(number);
      const bool met = faults_[fault].message.value_or(number) == number &&
                       fraction(lot.bits(0)) < faults_[fault].share;
      if (met) {
        apply(faults_[fault], lot.bits(1), bytes, treatment);
      }
    }
    return treatment;
  }

 private:
  // In [0, 1).
  static double fraction(std::uint64_t bits) { return static_cast<double>(bits >> 11U) * 0x1p-53; }

  static void apply(const Fault& fault, std::uint64_t lot, std::size_t bytes,
                    Treatment& treatment) {
    switch (fault.kind) {
      case Fault::Kind::delay:
        treatment.delay += fault.time;
        break;
      case Fault::Kind::jitter:
        treatment.delay += std::chrono::nanoseconds(
            static_cast<std::int64_t>(fraction(lot) * static_cast<double>(fault.time.count())));
        break;
      case Fault::Kind::reorder:
        treatment.delay += fault.time;
        treatment.to_be_overtaken = true;
        break;
      case Fault::Kind::duplicate:
        treatment.duplicated = true;
        break;
      case Fault::Kind::drop:
        treatment.dropped = true;
        break;
      case Fault::Kind::truncate:
        treatment.bytes_kept = bytes == 0 ? 0 : lot % bytes;
        break;
      case Fault::Kind::corrupt:
        treatment.bit_flipped = bytes == 0 ? 0 : lot % (8 * bytes);
        break;
      case Fault::Kind::slow:
        treatment.pause += fault.time;
        break;
      case Fault::Kind::die:
        treatment.deadly = true;
        break;
    }
  }

  std::vector<Fault> faults_;
  std::vector<std::uint64_t> counted_;  // [fault]: messages of the kind that it concerns
  std::vector<RandomStream> streams_;   // [fault]
  int rank_;
};

// A message between post_send() and the transport inside.
struct Held {
  Ticket ticket = 0;
  int destination = 0;
  MessageClass message_class = MessageClass::activation;
  std::span<const std::byte> message;
  Clock::time_point due;
  bool to_be_overtaken = false;

  [[nodiscard]] bool same_channel(const Held& other) const {
    return destination == other.destination && message_class == other.message_class;
  }
};

// What has been posted and not been waited for.
struct Operation {
  std::optional<Ticket> inner;  // nothing: held, or dropped
  bool dropped = false;
  std::vector<std::byte> altered;  // what is sent instead
};

class FaultTransport final : public Transport {
 public:
  FaultTransport(std::unique_ptr<Transport> inner, const FaultPlan& plan,
                 std::shared_ptr<Fate> fate, Death death)
      : fate_(std::move(fate)),
        name_(fmt::format("fault:{}", inner->name())),
        lots_(plan, inner->rank()),
        death_(death),
        inner_(std::move(inner)) {
    for (const Fault& fault : plan.faults) {
      if (fault.rank && *fault.rank >= inner_->ranks()) {
        throw Error(ExitCode::usage,
                    fmt::format("fault '{}' is for rank {}, but the ranks are 0 to {}",
                                to_string(fault.kind), *fault.rank, inner_->ranks() - 1));
      }
      if (alters_messages(fault.kind) && !inner_->device().memory_is_hosts()) {
        throw Error(ExitCode::usage,
                    fmt::format("fault '{}' needs messages in memory that the host can read, but "
                                "those of '{}' are in memory of the device '{}'",
                                to_string(fault.kind), inner_->name(), inner_->device().name()));
      }
    }
  }
  FaultTransport(const FaultTransport&) = delete;
  FaultTransport& operator=(const FaultTransport&) = delete;

  // A duplicate that no receive has met may be left over.
  ~FaultTransport() override {
    try {
      for (const Ticket duplicate : duplicates_) {
        static_cast<void>(wait(duplicate, Clock::now() + duplicate_limit));
      }
    } catch (const std::exception&) {
      // The job has been aborted, or the duplicate has failed: either is what was to be seen.
      duplicates_.clear();
    }
  }

  [[nodiscard]] int rank() const override { return inner_->rank(); }
  [[nodiscard]] int ranks() const override { return inner_->ranks(); }
  [[nodiscard]] std::string_view name() const override { return name_; }
  [[nodiscard]] Device& device() override { return inner_->device(); }

  [[nodiscard]] Ticket post_send(int destination, MessageClass message_class,
                                 std::span<const std::byte> message) override;
  [[nodiscard]] Ticket post_receive(int source, MessageClass message_class,
                                    std::span<std::byte> message) override {
    release();
    operations_[next_].inner = inner_->post_receive(source, message_class, message);
    return next_++;
  }
  void end_group() override { inner_->end_group(); }
  [[nodiscard]] bool wait(Ticket ticket, Deadline deadline) override;
  void check() override { inner_->check(); }

  [[nodiscard]] StatusPage& status() override { return inner_->status(); }
  [[nodiscard]] std::optional<std::vector<std::optional<RankStatus>>> collect_status(
      Deadline deadline) override {
    return inner_->collect_status(deadline);
  }

  void abort(ExitCode code, const std::string& reason) noexcept override {
    inner_->abort(code, reason);
    const std::scoped_lock lock(fate_->mutex);
    if (!fate_->ending) {
      fate_->ending.emplace(code, reason);
    }
    fate_->ended.notify_all();
  }

 private:
  // One message on its way, as `treatment` wants it.
  struct Outgoing {
    int destination = 0;
    MessageClass message_class = MessageClass::activation;
    std::span<const std::byte> message;
  };
  [[nodiscard]] Ticket hold(const Outgoing& outgoing, const Treatment& treatment);
  void release();
  [[nodiscard]] bool release_one();
  [[nodiscard]] bool is_first_of_its_channel(const Held& held) const;
  [[nodiscard]] Clock::time_point next_due() const;
  [[noreturn]] void die(int destination, MessageClass message_class);

  std::shared_ptr<Fate> fate_;
  std::string name_;
  Lots lots_;
  Death death_;
  Ticket next_ = 0;
  std::map<Ticket, Operation> operations_;
  std::list<Held> held_;  // in the order in which they were posted
  std::vector<Ticket> duplicates_;
  std::unique_ptr<Transport> inner_;  // the last: it may be reading the messages above
};

Ticket FaultTransport::post_send(int destination, MessageClass message_class,
                                 std::span<const std::byte> message) {
  const Treatment treatment = lots_.next(message_class, message.size());
  if (treatment.deadly) {
    die(destination, message_class);
  }
  if (treatment.pause > std::chrono::nanoseconds(0)) {
    std::this_thread::sleep_for(treatment.pause);
  }
  const Outgoing outgoing{
      .destination = destination, .message_class = message_class, .message = message};
  const Ticket ticket = hold(outgoing, treatment);
  if (treatment.duplicated) {
    duplicates_.push_back(hold(outgoing, treatment));
  }
  release();
  return ticket;
}

Ticket FaultTransport::hold(const Outgoing& outgoing, const Treatment& treatment) {
  const Ticket ticket = next_++;
  Operation& operation = operations_[ticket];
  operation.dropped = treatment.dropped;
  if (operation.dropped) {
    return ticket;
  }
  std::span<const std::byte> message = outgoing.message;
  if (treatment.alters()) {
    operation.altered.assign(message.begin(), message.end());
    if (treatment.bit_flipped && !message.empty()) {
      operation.altered[*treatment.bit_flipped / 8] ^= std::byte{1} << (*treatment.bit_flipped % 8);
    }
    operation.altered.resize(treatment.bytes_kept.value_or(message.size()));
    message = operation.altered;
  }
  held_.push_back({.ticket = ticket,
                   .destination = outgoing.destination,
                   .message_class = outgoing.message_class,
                   .message = message,
                   .due = Clock::now() + treatment.delay,
                   .to_be_overtaken = treatment.to_be_overtaken});
  return ticket;
}

bool FaultTransport::is_first_of_its_channel(const Held& held) const {
  const auto first =
      std::ranges::find_if(held_, [&](const Held& other) { return other.same_channel(held); });
  return first->ticket == held.ticket;
}

// Hands over whatever is due.
void FaultTransport::release() {
  while (release_one()) {
  }
}

bool FaultTransport::release_one() {
  const Clock::time_point now = Clock::now();
  const auto found = std::ranges::find_if(
      held_, [&](const Held& held) { return held.due <= now && is_first_of_its_channel(held); });
  if (found == held_.end()) {
    return false;
  }
  operations_[found->ticket].inner =
      inner_->post_send(found->destination, found->message_class, found->message);
  for (auto overtaken = held_.begin(); overtaken != found; ++overtaken) {
    if (overtaken->to_be_overtaken) {
      overtaken->due = now;
    }
  }
  held_.erase(found);
  return true;
}

// When release() will have something to do. A message behind another of its channel waits for that.
Clock::time_point FaultTransport::next_due() const {
  Clock::time_point next = Clock::time_point::max();
  for (const Held& held : held_) {
    if (is_first_of_its_channel(held)) {
      next = std::min(next, held.due);
    }
  }
  return next;
}

bool FaultTransport::wait(Ticket ticket, Deadline deadline) {
  const auto found = operations_.find(ticket);
  CHECK(found != operations_.end());
  const Operation& operation = found->second;
  for (bool last = false; !last;) {
    release();
    const Clock::time_point until = std::min(deadline, next_due());
    last = until == deadline;
    bool done = operation.dropped;
    if (operation.inner) {
      try {
        done = inner_->wait(*operation.inner, until);
      } catch (const std::exception&) {
        operations_.erase(found);
        throw;
      }
    } else if (!done) {
      std::this_thread::sleep_until(until);
    }
    if (done) {
      operations_.erase(found);
      return true;
    }
  }
  return false;
}

void FaultTransport::die(int destination, MessageClass message_class) {
  const std::string words =
      fmt::format("fault: rank {} dies instead of sending {} {}->{}", inner_->rank(),
                  to_string(message_class), inner_->rank(), destination);
  if (death_ == Death::kills_the_process) {
    const std::string line = words + "\n";
    // Where stderr is closed the signal has to be enough.
    static_cast<void>(::write(STDERR_FILENO, line.data(), line.size()) == 0);
    ::raise(SIGKILL);
  }
  std::unique_lock lock(fate_->mutex);
  const std::optional<std::pair<ExitCode, std::string>>& ending = fate_->ending;
  fate_->ended.wait_for(lock, dead_limit, [&] { return ending.has_value(); });
  if (!ending) {
    throw Error(ExitCode::timeout, fmt::format("{}, and nobody has noticed within {} minutes",
                                               words, dead_limit.count()));
  }
  throw Error(ending->first, ending->second);
}

}  // namespace

std::vector<std::unique_ptr<Transport>> make_fault_transports(
    std::vector<std::unique_ptr<Transport>> inner, const FaultPlan& plan) {
  const std::shared_ptr<Fate> fate = std::make_shared<Fate>();
  std::vector<std::unique_ptr<Transport>> transports;
  for (std::unique_ptr<Transport>& one : inner) {
    transports.push_back(
        std::make_unique<FaultTransport>(std::move(one), plan, fate, Death::stops_the_thread));
  }
  return transports;
}

std::unique_ptr<Transport> make_fault_transport(std::unique_ptr<Transport> inner,
                                                const FaultPlan& plan) {
  return std::make_unique<FaultTransport>(std::move(inner), plan, std::make_shared<Fate>(),
                                          Death::kills_the_process);
}

}  // namespace dualpipe
