// What the host gives the kernel of the model `spin`, and what it gets back. Plain memory that both
// sides see alike.

#pragma once

namespace dualpipe {

inline constexpr unsigned spin_words = 8;

// A SpinMessage, to whoever only copies and compares it.
struct SpinWords {
  unsigned long long words[spin_words];
};

struct SpinCall {
  SpinWords expected;
  SpinWords written;
  unsigned long long nanoseconds;
};

struct WrongSpin {
  SpinWords found;
  SpinWords expected;
  unsigned long long count;  // 0: nothing was wrong
};

}  // namespace dualpipe
