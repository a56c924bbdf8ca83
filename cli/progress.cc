#include "cli/progress.h"

#include <chrono>
#include <cstddef>
#include <cstdio>
#include <string>

#include <fmt/format.h>
#include <unistd.h>

namespace dualpipe {
namespace {

constexpr auto silence = std::chrono::seconds(1);
constexpr auto between = std::chrono::milliseconds(100);
constexpr std::size_t width = 30;

void write_now(const std::string& text) {
  std::fputs(text.c_str(), stderr);
  std::fflush(stderr);
}

}  // namespace

Progress::Progress(std::size_t done, std::size_t total)
    : is_terminal_(::isatty(STDERR_FILENO) != 0),
      before_(done),
      total_(total),
      begin_(Clock::now()),
      next_(begin_ + silence) {}

Progress::~Progress() {
  if (is_drawn_) {
    write_now("\r\033[K");
  }
}

void Progress::show(std::size_t done) {
  const Clock::time_point now = Clock::now();
  if (!is_terminal_ || now < next_) {
    return;
  }
  next_ = now + between;
  const std::size_t marks = total_ == 0 ? width : width * done / total_;
  std::string left;
  if (done > before_) {
    const double seconds = std::chrono::duration<double>(now - begin_).count();
    left = fmt::format(", {:.0f} s left", seconds * static_cast<double>(total_ - done) /
                                              static_cast<double>(done - before_));
  }
  write_now(fmt::format("\r[{:<{}}] {} of {}{}\033[K", std::string(marks, '#'), width, done, total_,
                        left));
  is_drawn_ = true;
}

}  // namespace dualpipe
