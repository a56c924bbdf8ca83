#include "runtime/host_cores.h"

#include <bit>
#include <cerrno>
#include <cstddef>
#include <vector>

#include <sys/syscall.h>
#include <unistd.h>

namespace dualpipe {
namespace {

constexpr std::size_t words_max = std::size_t{1} << 16;  // four million cores

}  // namespace

// The system call itself, because glibc's wrapper does not tell how much the kernel has written.
std::vector<unsigned long> own_cores(std::size_t words_at_first) {
  for (std::size_t words = words_at_first; words <= words_max; words = 2 * words + 1) {
    std::vector<unsigned long> cores(words);
    const long written =
        ::syscall(SYS_sched_getaffinity, 0, words * sizeof(unsigned long), cores.data());
    if (written >= 0) {
      cores.resize(static_cast<std::size_t>(written) / sizeof(unsigned long));
      return cores;
    }
    if (errno != EINVAL) {
      return {};
    }
  }
  return {};
}

int count_cores(const std::vector<unsigned long>& cores) {
  int count = 0;
  for (const unsigned long word : cores) {
    count += std::popcount(word);
  }
  return count;
}

}  // namespace dualpipe
