// The deadlock checker's reference: tries every interleaving there is.

#pragma once

#include <cstddef>

#include "scheduler/program.h"

namespace dualpipe {

struct Interleavings {
  bool some_finish = false;
  bool some_hang = false;
  std::size_t states = 0;
};

// Plays the instructions under rendezvous with zero buffering, in all orders: at each state any
// rank may take its next step and any transfer may take place whose two operations are issued and
// at the front of their communicators. Exponential; for tiny programs. Requires: at most 64
// messages.
[[nodiscard]] Interleavings all_interleavings(const Program& program);

}  // namespace dualpipe
