// A progress bar on stderr: only on a terminal, and only for what takes longer than a second.

#pragma once

#include <chrono>
#include <cstddef>

namespace dualpipe {

class Progress {
 public:
  // Of `total` things, of which `done` were there before.
  Progress(std::size_t done, std::size_t total);
  // Wipes the bar away.
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // Draws at most ten times a second.
  void show(std::size_t done);

 private:
  using Clock = std::chrono::steady_clock;

  bool is_terminal_ = false;
  bool is_drawn_ = false;
  std::size_t before_ = 0;
  std::size_t total_ = 0;
  Clock::time_point begin_;
  Clock::time_point next_;  // when to draw again
};

}  // namespace dualpipe
