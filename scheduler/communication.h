// An explicit order of communication: for every rank, where among its slots it sends, receives and
// lets a group go. compile() derives an order by itself; a reference implementation that has its
// own is described with this.

#pragma once

#include <cstdint>
#include <vector>

#include "scheduler/op.h"

namespace dualpipe {

struct CommunicationStep {
  enum class Kind : std::uint8_t {
    run,      // the rank's next slot
    send,     // `value`, written before
    receive,  // `value`, to be read later
    commit,   // what was sent and received since the last commit goes out as one group, and is
              // waited for
  };
  Kind kind = Kind::run;
  Value value;  // of send and receive
};

// [rank]. Steps whose value stays on its rank mean nothing and are left out by compile().
using CommunicationOrder = std::vector<std::vector<CommunicationStep>>;

}  // namespace dualpipe
