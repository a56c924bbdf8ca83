// What a rank is doing right now, in a form that other threads and other ranks may read at any
// moment: a watchdog's only source. The rank writes; whoever reports reads.

#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace dualpipe {

enum class Activity : std::int32_t {
  starting,
  running,            // index: slot on the rank
  awaiting_receive,   // index: message of the Program
  awaiting_send,      // index: message of the Program
  reducing_replicas,  // index: stage
  synchronizing,      // collecting losses and the word that the step is good; index: peer rank
  optimizing,         // index: stage
  finished,
};

// What a rank did once, from this time until the next.
struct PastActivity {
  std::int64_t step = 0;
  std::int64_t since_ns = 0;  // steady clock of the rank's host
  Activity activity = Activity::starting;
  std::int32_t index = 0;
};

struct RankStatus {
  static constexpr std::size_t past_max = 12;

  std::int64_t step = 0;
  std::int64_t since_ns = 0;  // steady clock of the rank's host
  std::int64_t now_ns = 0;    // the same clock, when the status was read
  Activity activity = Activity::starting;
  std::int32_t index = 0;
  std::int32_t past_count = 0;
  std::array<PastActivity, past_max> past{};  // before that, the latest first
  bool answers = true;                        // false: it is silent, and its page has been read
};

// One writer, any number of readers, no locks: a sequence lock over atomics. It may lie in memory
// that processes of one host share, so that what a process did last can be read when it does not
// answer any more.
class StatusPage {
 public:
  // Says `starting`, from now on.
  StatusPage();

  // Called by the rank's own thread only. Stamps the time.
  void publish(std::int64_t step, Activity activity, std::int32_t index);
  // Any thread. Requires: the writer lives, for a write under way is waited for.
  [[nodiscard]] RankStatus read() const;
  // Any thread or process. Nothing while a write is under way, which may be for ever where the
  // writer has been stopped in the middle of it.
  [[nodiscard]] std::optional<RankStatus> try_read() const;
  // The same, but a write under way is given some milliseconds.
  [[nodiscard]] std::optional<RankStatus> try_patiently() const;

 private:
  struct Record {
    std::atomic<std::int64_t> step{0};
    std::atomic<std::int64_t> since_ns{0};
    std::atomic<std::int32_t> activity{0};
    std::atomic<std::int32_t> index{0};
  };

  std::atomic<std::uint32_t> version_{0};  // odd while a write is under way
  std::atomic<std::uint64_t> count_{0};    // of writes; the latest is records_[count_ % size]
  std::array<Record, RankStatus::past_max + 1> records_;
  static_assert(std::atomic<std::int64_t>::is_always_lock_free);
};

}  // namespace dualpipe
