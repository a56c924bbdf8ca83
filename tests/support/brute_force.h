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

// Plays the instructions in all orders, on the topology and with the buffering of the program's
// semantics. At each state any rank may take its next step; any transfer may take place whose two
// operations are issued and at the front of their communicators; any send at the front may put its
// message into its lane's buffer while there is room, in order; and any receive at the front may
// take its message out. Exponential; for tiny programs. Requires: at most 64 messages.
[[nodiscard]] Interleavings all_interleavings(const Program& program);

}  // namespace dualpipe
