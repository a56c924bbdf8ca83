#include "runtime/forked_transport.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <deque>
#include <exception>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/core.h>
#include <linux/prctl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "costs/check.h"
#include "costs/error.h"
#include "runtime/cpu_device.h"
#include "runtime/device.h"
#include "runtime/operations.h"
#include "runtime/status.h"
#include "runtime/transport.h"

namespace dualpipe {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int ranks_max = 64;
constexpr std::size_t ring_bytes = std::size_t{8} << 10;
constexpr std::size_t reason_bytes = std::size_t{16} << 10;
constexpr int polls_yielding = 200;
constexpr std::chrono::microseconds poll_pause{30};
constexpr std::chrono::seconds leave_limit{10};  // for the other ranks, when rank 0 is done

// --- what the processes share: nothing but atomics and bytes ---

// One writer, one reader.
class Ring {
 public:
  // As many of the bytes as there is room for; returns their number.
  std::size_t write(std::span<const std::byte> bytes) {
    const std::uint64_t end = written_.load(std::memory_order_relaxed);
    const std::uint64_t free = ring_bytes - (end - read_.load(std::memory_order_acquire));
    const std::size_t count = std::min<std::size_t>(bytes.size(), free);
    for (std::size_t i = 0; i < count; ++i) {
      bytes_[(end + i) % ring_bytes] = bytes[i];
    }
    written_.store(end + count, std::memory_order_release);
    return count;
  }
  std::size_t read(std::span<std::byte> bytes) {
    const std::uint64_t begin = read_.load(std::memory_order_relaxed);
    const std::uint64_t there = written_.load(std::memory_order_acquire) - begin;
    const std::size_t count = std::min<std::size_t>(bytes.size(), there);
    for (std::size_t i = 0; i < count; ++i) {
      bytes[i] = bytes_[(begin + i) % ring_bytes];
    }
    read_.store(begin + count, std::memory_order_release);
    return count;
  }
  // Reads into nothing.
  std::size_t skip(std::size_t bytes) {
    const std::uint64_t begin = read_.load(std::memory_order_relaxed);
    const std::uint64_t there = written_.load(std::memory_order_acquire) - begin;
    const std::size_t count = std::min<std::size_t>(bytes, there);
    read_.store(begin + count, std::memory_order_release);
    return count;
  }

 private:
  std::atomic<std::uint64_t> written_{0};
  std::atomic<std::uint64_t> read_{0};
  std::array<std::byte, ring_bytes> bytes_{};
};

struct Ending {
  enum State : int { none, being_told, told };
  std::atomic<int> state{none};
  ExitCode code = ExitCode::ok;
  std::array<char, reason_bytes> reason{};
};

// At the beginning of the shared memory; the rings lie behind it.
struct Shared {
  Ending ending;
  std::atomic<int> reporter{-1};
  std::array<StatusPage, ranks_max> pages;
};
static_assert(std::atomic<std::uint64_t>::is_always_lock_free);
static_assert(std::atomic<int>::is_always_lock_free);

constexpr std::size_t rings_offset = (sizeof(Shared) + 63) / 64 * 64;

std::size_t ring_count(int ranks) {
  return static_cast<std::size_t>(ranks) * static_cast<std::size_t>(ranks) * message_class_count;
}

// Unmapped when the last process that has it ends; the mapping is anonymous, so nothing is left.
class SharedMemory {
 public:
  explicit SharedMemory(int ranks) : bytes_(rings_offset + ring_count(ranks) * sizeof(Ring)) {
    void* const memory =
        ::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
      throw Error(ExitCode::transport,
                  fmt::format("no shared memory of {} bytes: {}", bytes_, std::strerror(errno)));
    }
    memory_ = static_cast<std::byte*>(memory);
    shared_ = std::construct_at(reinterpret_cast<Shared*>(memory_));
    rings_ = reinterpret_cast<Ring*>(memory_ + rings_offset);
    for (std::size_t ring = 0; ring < ring_count(ranks); ++ring) {
      std::construct_at(rings_ + ring);
    }
  }
  ~SharedMemory() {
    if (memory_ != nullptr) {
      ::munmap(memory_, bytes_);
    }
  }
  SharedMemory(SharedMemory&& other) noexcept
      : memory_(std::exchange(other.memory_, nullptr)),
        bytes_(other.bytes_),
        shared_(other.shared_),
        rings_(other.rings_) {}
  SharedMemory& operator=(SharedMemory&&) = delete;

  [[nodiscard]] Shared& shared() const { return *shared_; }
  [[nodiscard]] Ring& ring(std::size_t number) const { return rings_[number]; }

 private:
  std::byte* memory_ = nullptr;
  std::size_t bytes_;
  Shared* shared_ = nullptr;
  Ring* rings_ = nullptr;
};

// --- one rank ---

// A posted operation. Each message is preceded by its size.
struct Posted {
  Ticket ticket = 0;
  bool sends = false;
  std::span<const std::byte> outgoing;
  std::span<std::byte> incoming;
  std::array<std::byte, sizeof(std::uint64_t)> size{};
  std::size_t moved = 0;    // of the size and the message behind it
  std::uint64_t bytes = 0;  // of the message, when the size has been moved
  bool refused = false;     // not as long as its buffer: it has failed, and is read into nothing
};

std::string describe_end(int rank, int status) {
  return WIFSIGNALED(status)
             ? fmt::format("rank {} ended on signal {}", rank, WTERMSIG(status))
             : fmt::format("rank {} ended with exit code {}", rank, WEXITSTATUS(status));
}

[[noreturn]] void end_process(ExitCode code, const std::string& reason) {
  std::fflush(nullptr);
  const std::string line = "error: " + reason + "\n";
  // Nothing can be done where stderr is closed; the exit code remains.
  static_cast<void>(::write(STDERR_FILENO, line.data(), line.size()) == 0);
  ::_exit(static_cast<int>(code));
}

class ForkedTransport final : public Transport {
 public:
  struct Place {
    int rank = 0;
    int ranks = 1;
    // Rank 0 alone: the processes of ranks 1, 2, ...
    std::vector<pid_t> others;  // NOLINT(misc-include-cleaner): <unistd.h> has pid_t too
  };

  ForkedTransport(SharedMemory memory, Place place)
      : memory_(std::move(memory)),
        place_(std::move(place)),
        queues_(ring_count(place_.ranks)),
        status_(&memory_.shared().pages[static_cast<std::size_t>(place_.rank)]) {}
  ForkedTransport(const ForkedTransport&) = delete;
  ForkedTransport& operator=(const ForkedTransport&) = delete;
  ~ForkedTransport() override;

  [[nodiscard]] int rank() const override { return place_.rank; }
  [[nodiscard]] int ranks() const override { return place_.ranks; }
  [[nodiscard]] std::string_view name() const override { return "forked"; }
  [[nodiscard]] Device& device() override { return device_; }

  [[nodiscard]] Ticket post_send(int destination, MessageClass message_class,
                                 std::span<const std::byte> message) override {
    return post(ring_number(rank(), destination, message_class),
                {.sends = true, .outgoing = message, .incoming = {}}, message.size());
  }
  [[nodiscard]] Ticket post_receive(int source, MessageClass message_class,
                                    std::span<std::byte> message) override {
    return post(ring_number(source, rank(), message_class),
                {.sends = false, .outgoing = {}, .incoming = message}, 0);
  }
  void end_group() override {}
  [[nodiscard]] bool wait(Ticket ticket, Deadline deadline) override;
  void check() override {
    progress();
    operations_.check();
  }

  [[nodiscard]] StatusPage& status() override { return *status_; }
  [[nodiscard]] std::optional<std::vector<std::optional<RankStatus>>> collect_status(
      Deadline deadline) override;
  void abort(ExitCode code, const std::string& reason) noexcept override;

 private:
  [[nodiscard]] std::size_t ring_number(int source, int destination,
                                        MessageClass message_class) const;
  [[nodiscard]] Ticket post(std::size_t ring, Posted posted, std::size_t bytes);
  void progress();
  void progress_queue(std::size_t ring);
  // Whether there may be more to do for the operation behind it.
  [[nodiscard]] bool move(std::size_t number, Posted& posted);
  [[nodiscard]] std::string words_of_refusal(std::size_t number, const Posted& posted) const;
  [[nodiscard]] bool move_size(Ring& ring, Posted& posted);
  // Whether the job is being aborted; then no buffer is touched any more.
  [[nodiscard]] bool hear_of_ending();
  void reap();
  [[nodiscard]] std::string see_others_off();

  SharedMemory memory_;
  Place place_;
  std::vector<std::deque<Posted>> queues_;  // [ring]
  StatusPage* status_;
  Operations operations_;
  CpuDevice device_;
};

std::size_t ForkedTransport::ring_number(int source, int destination,
                                         MessageClass message_class) const {
  CHECK(0 <= source && source < ranks() && 0 <= destination && destination < ranks());
  CHECK(source != destination);
  const std::size_t pair = static_cast<std::size_t>(source) * static_cast<std::size_t>(ranks()) +
                           static_cast<std::size_t>(destination);
  return pair * message_class_count + static_cast<std::size_t>(message_class);
}

Ticket ForkedTransport::post(std::size_t ring, Posted posted, std::size_t bytes) {
  static_cast<void>(hear_of_ending());  // Then opening throws.
  posted.ticket = operations_.open();
  const std::uint64_t size = bytes;
  std::memcpy(posted.size.data(), &size, sizeof size);
  queues_[ring].push_back(posted);
  progress_queue(ring);
  return posted.ticket;
}

void ForkedTransport::progress() {
  reap();
  if (hear_of_ending()) {
    return;
  }
  for (std::size_t ring = 0; ring < queues_.size(); ++ring) {
    progress_queue(ring);
  }
}

void ForkedTransport::progress_queue(std::size_t ring) {
  std::deque<Posted>& queue = queues_[ring];
  while (!queue.empty() && move(ring, queue.front())) {
    queue.pop_front();
  }
}

bool ForkedTransport::move_size(Ring& ring, Posted& posted) {
  const std::span<std::byte> rest = std::span(posted.size).subspan(posted.moved);
  posted.moved += posted.sends ? ring.write(rest) : ring.read(rest);
  return posted.moved == posted.size.size();
}

bool ForkedTransport::move(std::size_t number, Posted& posted) {
  Ring& ring = memory_.ring(number);
  const std::size_t prefix = posted.size.size();
  if (posted.moved < prefix) {
    if (!move_size(ring, posted)) {
      return false;
    }
    std::memcpy(&posted.bytes, posted.size.data(), sizeof posted.bytes);
    posted.refused = !posted.sends && posted.bytes != posted.incoming.size();
    if (posted.refused) {
      operations_.fail(posted.ticket, words_of_refusal(number, posted));
    }
  }
  const std::size_t done = posted.moved - prefix;
  if (posted.refused) {
    posted.moved += ring.skip(posted.bytes - done);
  } else {
    posted.moved += posted.sends ? ring.write(posted.outgoing.subspan(done))
                                 : ring.read(posted.incoming.subspan(done));
  }
  if (posted.moved < prefix + posted.bytes) {
    return false;
  }
  if (!posted.refused) {
    operations_.finish(posted.ticket);
  }
  return true;
}

std::string ForkedTransport::words_of_refusal(std::size_t number, const Posted& posted) const {
  const std::size_t source = number / message_class_count / static_cast<std::size_t>(ranks());
  const MessageClass message_class{static_cast<std::uint8_t>(number % message_class_count)};
  return fmt::format("{} {}->{}: rank {} sent {} bytes where rank {} expected {}",
                     to_string(message_class), source, rank(), source, posted.bytes, rank(),
                     posted.incoming.size());
}

bool ForkedTransport::wait(Ticket ticket, Deadline deadline) {
  for (int polls = 0;; ++polls) {
    progress();
    if (operations_.wait(ticket, {})) {
      return true;
    }
    if (Clock::now() >= deadline) {
      return false;
    }
    if (polls < polls_yielding) {
      std::this_thread::yield();
    } else {
      std::this_thread::sleep_for(poll_pause);
    }
  }
}

bool ForkedTransport::hear_of_ending() {
  const Ending& ending = memory_.shared().ending;
  if (ending.state.load(std::memory_order_acquire) != Ending::told) {
    return false;
  }
  operations_.close(ending.code, ending.reason.data());
  return true;
}

// Of the other ranks only rank 0 hears from the system, being their parent.
void ForkedTransport::reap() {
  for (std::size_t other = 0; other < place_.others.size(); ++other) {
    int status = 0;
    pid_t& process = place_.others[other];
    if (process != 0 && ::waitpid(process, &status, WNOHANG) == process) {
      process = 0;
      if (status != 0) {
        abort(ExitCode::transport, describe_end(static_cast<int>(other) + 1, status));
      }
    }
  }
}

std::optional<std::vector<std::optional<RankStatus>>> ForkedTransport::collect_status(
    Deadline /*deadline*/) {
  int reporter = -1;
  if (!memory_.shared().reporter.compare_exchange_strong(reporter, rank()) && reporter != rank()) {
    return std::nullopt;
  }
  std::vector<std::optional<RankStatus>> statuses;
  for (int other = 0; other < ranks(); ++other) {
    // A rank that was stopped in the middle of writing never comes to the end of it.
    statuses.push_back(memory_.shared().pages[static_cast<std::size_t>(other)].try_patiently());
  }
  return statuses;
}

void ForkedTransport::abort(ExitCode code, const std::string& reason) noexcept {
  Ending& ending = memory_.shared().ending;
  int state = Ending::none;
  if (ending.state.compare_exchange_strong(state, Ending::being_told)) {
    ending.code = code;
    const std::size_t length = std::min(reason.size(), ending.reason.size() - 1);
    std::memcpy(ending.reason.data(), reason.data(), length);
    ending.state.store(Ending::told, std::memory_order_release);
  }
  static_cast<void>(hear_of_ending());
}

ForkedTransport::~ForkedTransport() {
  if (const std::size_t outstanding = operations_.outstanding(); outstanding > 0) {
    abort(ExitCode::transport,
          fmt::format("rank {} ended with {} operations under way", rank(), outstanding));
  }
  const bool known = operations_.is_closed();
  const std::string bad_end = see_others_off();
  if (rank() != 0 || known || std::uncaught_exceptions() > 0) {
    return;
  }
  // Nobody is left to throw to, as for a launcher that sees a process go wrong after its work.
  if (hear_of_ending()) {
    end_process(memory_.shared().ending.code, memory_.shared().ending.reason.data());
  } else if (!bad_end.empty()) {
    end_process(ExitCode::transport, bad_end);
  }
}

// Waits for the processes of the other ranks, and says how the first of those ended that did not
// end well.
std::string ForkedTransport::see_others_off() {
  const Clock::time_point limit = Clock::now() + leave_limit;
  std::string bad_end;
  for (std::size_t other = 0; other < place_.others.size(); ++other) {
    const pid_t process = std::exchange(place_.others[other], 0);
    if (process == 0) {
      continue;  // It has been heard of before.
    }
    const int rank = static_cast<int>(other) + 1;
    int status = 0;
    std::string late;
    pid_t ended = 0;
    while ((ended = ::waitpid(process, &status, WNOHANG)) == 0) {
      if (Clock::now() >= limit) {
        late = fmt::format("rank {} did not end within {} s", rank, leave_limit.count());
        ::kill(process, SIGKILL);
        ::waitpid(process, &status, 0);
        break;
      }
      std::this_thread::sleep_for(poll_pause);
    }
    if (ended < 0) {
      late = fmt::format("rank {} ended, and the system does not say how", rank);
    }
    if (bad_end.empty() && (status != 0 || !late.empty())) {
      bad_end = late.empty() ? describe_end(rank, status) : late;
    }
  }
  return bad_end;
}

}  // namespace

std::unique_ptr<Transport> fork_ranks(int ranks) {
  CHECK(0 < ranks && ranks <= ranks_max);
  ::signal(SIGCHLD,
           SIG_DFL);  // A parent that ignores it passes that on, and then none is heard of.
  SharedMemory memory(ranks);
  ForkedTransport::Place place{.rank = 0, .ranks = ranks, .others = {}};
  const pid_t parent = ::getpid();
  for (int rank = 1; rank < ranks; ++rank) {
    const pid_t process = ::fork();
    if (process < 0) {
      const int why = errno;
      for (const pid_t other : place.others) {
        ::kill(other, SIGKILL);
        ::waitpid(other, nullptr, 0);
      }
      throw Error(ExitCode::transport,
                  fmt::format("no process for rank {}: {}", rank, std::strerror(why)));
    }
    if (process == 0) {
      // The parent may have died before this was said.
      if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || ::getppid() != parent) {
        ::_exit(static_cast<int>(ExitCode::transport));
      }
      place = {.rank = rank, .ranks = ranks, .others = {}};
      break;
    }
    place.others.push_back(process);
  }
  return std::make_unique<ForkedTransport>(std::move(memory), std::move(place));
}

}  // namespace dualpipe
