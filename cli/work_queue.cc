#include "cli/work_queue.h"

#include <chrono>
#include <cstddef>
#include <exception>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "costs/check.h"

namespace dualpipe {

std::optional<std::size_t> WorkQueue::take_locked() {
  if (stopped_ || next_ == end_ || next_ >= written_ + window_) {
    return std::nullopt;
  }
  return next_++;
}

std::optional<std::size_t> WorkQueue::take() {
  std::unique_lock lock(mutex_);
  room_.wait(lock, [&] { return stopped_ || next_ == end_ || next_ < written_ + window_; });
  return take_locked();
}

std::optional<std::size_t> WorkQueue::take_now() {
  const std::scoped_lock lock(mutex_);
  return take_locked();
}

void WorkQueue::put(std::size_t point, std::string row) {
  {
    const std::scoped_lock lock(mutex_);
    CHECK(written_ <= point && point < next_ && !early_.contains(point));
    early_.emplace(point, std::move(row));
  }
  rows_came_.notify_one();
}

std::string WorkQueue::rows_locked() {
  std::string rows;
  while (!early_.empty() && early_.begin()->first == written_) {
    rows += early_.begin()->second;
    early_.erase(early_.begin());
    ++written_;
  }
  return rows;
}

std::string WorkQueue::rows() {
  std::string rows;
  {
    const std::scoped_lock lock(mutex_);
    rows = rows_locked();
  }
  room_.notify_all();
  return rows;
}

std::string WorkQueue::await_rows(std::chrono::milliseconds patience) {
  {
    std::unique_lock lock(mutex_);
    rows_came_.wait_for(lock, patience, [&] {
      return stopped_ || (!early_.empty() && early_.begin()->first == written_);
    });
  }
  return rows();
}

void WorkQueue::stop() {
  {
    const std::scoped_lock lock(mutex_);
    stopped_ = true;
  }
  room_.notify_all();
  rows_came_.notify_all();
}

namespace {

// Stops the queue on the way out, so that no thread waits for room for ever.
struct Stopping {
  WorkQueue& queue;
  ~Stopping() { queue.stop(); }
};

}  // namespace

void run_on_threads(const SweepWork& work, int jobs) {
  constexpr std::size_t rows_per_job = 64;
  WorkQueue queue(work.first, work.end, rows_per_job * static_cast<std::size_t>(jobs));
  std::mutex mutex;
  std::exception_ptr first_error;  // guarded by the mutex
  bool is_wanted = true;
  {
    std::vector<std::jthread> threads;
    const Stopping stopping{queue};
    for (int job = 0; job < jobs; ++job) {
      threads.emplace_back([&] {
        try {
          while (const std::optional<std::size_t> point = queue.take()) {
            queue.put(*point, work.row(*point));
          }
        } catch (...) {
          const std::scoped_lock lock(mutex);
          first_error = first_error ? first_error : std::current_exception();
          queue.stop();
        }
      });
    }
    while (is_wanted && !queue.is_done()) {
      const std::string rows = queue.await_rows(std::chrono::milliseconds(100));
      is_wanted = work.write(rows, queue.written());
      const std::scoped_lock lock(mutex);
      is_wanted = is_wanted && !first_error;
    }
  }
  if (first_error) {
    std::rethrow_exception(first_error);
  }
}

}  // namespace dualpipe
