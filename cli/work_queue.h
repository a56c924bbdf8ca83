// WorkQueue: points of a sweep handed out to whoever is free, and their rows handed back in order.
// Rows that are early wait, but only so many: a queue never holds more than its window.

#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>

namespace dualpipe {

class WorkQueue {
 public:
  // Points from first to end-1. Requires: first <= end, window > 0.
  WorkQueue(std::size_t first, std::size_t end, std::size_t window)
      : next_(first), written_(first), end_(end), window_(window) {}

  // The next point, waiting until there is room for its row; nothing when all have been handed out
  // or the queue was stopped. From any thread.
  [[nodiscard]] std::optional<std::size_t> take();

  // As take(), but nothing also where it would wait.
  [[nodiscard]] std::optional<std::size_t> take_now();

  // The row of a point that was taken. From any thread.
  void put(std::size_t point, std::string row);

  // The next rows in order, empty if they are not there yet. From one thread.
  [[nodiscard]] std::string rows();
  // As rows(), but waits so long for them.
  [[nodiscard]] std::string await_rows(std::chrono::milliseconds patience);

  // Every row has been handed back. From the thread that calls rows().
  [[nodiscard]] bool is_done() const { return written_ == end_; }
  // How many points have their rows handed back, counted from 0.
  [[nodiscard]] std::size_t written() const { return written_; }

  // No point is handed out any more. From any thread.
  void stop();

 private:
  [[nodiscard]] std::optional<std::size_t> take_locked();
  [[nodiscard]] std::string rows_locked();

  std::mutex mutex_;  // guards all below
  std::condition_variable room_;
  std::condition_variable rows_came_;
  std::map<std::size_t, std::string> early_;  // [point]; at most window_ of them
  std::size_t next_ = 0;                      // to be handed out
  std::size_t written_ = 0;                   // the first whose row has not been handed back
  std::size_t end_ = 0;
  std::size_t window_ = 0;
  bool stopped_ = false;
};

// What a sweep does with a point, and with rows in order.
struct SweepWork {
  std::size_t first = 0;
  std::size_t end = 0;
  std::function<std::string(std::size_t point)> row;  // from several threads at once
  // From one thread, also without rows, ten times a second and more; false: stop.
  std::function<bool(const std::string& rows, std::size_t written)> write;
};

// Runs the work on `jobs` threads, and returns when all is written or `write` wanted no more. What
// `row` or `write` throws stops the others and is rethrown. Requires: jobs > 0.
void run_on_threads(const SweepWork& work, int jobs);

}  // namespace dualpipe
