#include "runtime/doorbell.h"

#include <chrono>
#include <climits>
#include <cstdint>
#include <ctime>

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace dualpipe {

void Doorbell::ring() {
  rings_.fetch_add(1);
  if (asleep_.load()) {
    ::syscall(SYS_futex, &rings_, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
  }
}

// Either ring() sees that we sleep, or the kernel sees the new count and does not let us: both
// orders are sequentially consistent. A futex rather than atomic::wait, which knows no deadline and
// does not work between processes.
void Doorbell::sleep(std::uint32_t seen, std::chrono::microseconds time) {
  asleep_.store(true);
  const std::chrono::seconds whole = std::chrono::duration_cast<std::chrono::seconds>(time);
  const std::timespec limit{.tv_sec = whole.count(),
                            .tv_nsec = std::chrono::nanoseconds(time - whole).count()};
  ::syscall(SYS_futex, &rings_, FUTEX_WAIT, seen, &limit, nullptr, 0);
  asleep_.store(false);
}

}  // namespace dualpipe
