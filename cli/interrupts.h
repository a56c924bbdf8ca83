// Interruptions (SIGINT, SIGTERM) noted instead of obeyed, while something must be left whole.

#pragma once

#include <csignal>

namespace dualpipe {

// From construction to destruction the first interruption is only noted; ask for it. The next one
// ends the process as usual. One object at a time.
class Interrupts {
 public:
  Interrupts();
  ~Interrupts();
  Interrupts(const Interrupts&) = delete;
  Interrupts& operator=(const Interrupts&) = delete;

  // Whether there has been one. From any thread.
  [[nodiscard]] bool requested() const;

 private:
  struct sigaction interrupt_before_{};
  struct sigaction terminate_before_{};
};

}  // namespace dualpipe
