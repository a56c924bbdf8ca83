// What a rank is doing right now, in a form that other threads and other ranks may read at any
// moment: a watchdog's only source. The rank writes; whoever reports reads.

#pragma once

#include <atomic>
#include <cstdint>

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

struct RankStatus {
  std::int64_t step = 0;
  std::int64_t since_ns = 0;  // steady clock of the rank's host
  std::int64_t now_ns = 0;    // the same clock, when the status was read
  Activity activity = Activity::starting;
  std::int32_t index = 0;
};

// One writer, any number of readers, no locks: a sequence lock over atomics.
class StatusPage {
 public:
  // Says `starting`, from now on.
  StatusPage();

  // Called by the rank's own thread only. Stamps the time.
  void publish(std::int64_t step, Activity activity, std::int32_t index);
  // Any thread.
  [[nodiscard]] RankStatus read() const;

 private:
  std::atomic<std::uint32_t> version_{0};  // odd while a write is under way
  std::atomic<std::int64_t> step_{0};
  std::atomic<std::int64_t> since_ns_;
  std::atomic<std::int32_t> activity_{0};
  std::atomic<std::int32_t> index_{0};
};

}  // namespace dualpipe
