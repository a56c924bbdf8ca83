// PyTorch's lowered CSV ("compute_comms"): a schedule whose communication is written out, so that
// it can be checked as it will be carried out. Beside ops a cell may be
//
//   1SEND_F3, 1SEND_B3    stage 1 hands microbatch 3's output, or its gradient, to its neighbour
//   2RECV_F3, 0RECV_B3    the neighbour takes it; the stage named is always that of the rank itself
//   1REDUCE_GRAD          stage 1's gradients are scaled to a mean and summed over its replicas
//   1UNSHARD, 1RESHARD    of sharded parameters; they say nothing about the pipeline and are left
//   out
//
// A send or receive is posted when it is reached; a receive is waited for by the op that reads it,
// sends at the end of the step. PyTorch checks nothing of it: it has no tags, so what is received
// in another order than it was sent is taken for something else without a word.

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "scheduler/communication.h"
#include "scheduler/compile.h"
#include "scheduler/program.h"
#include "scheduler/schedule.h"

namespace dualpipe {

struct LoweredSchedule {
  struct Reduction {
    int stage = 0;
    RankSlot place;  // the slot before which it takes place; the number of slots for the end
  };
  Schedule schedule;
  CommunicationOrder communication;
  std::vector<Reduction> reductions;  // by rank, in order
};

// Whether a file has cells that only a lowered one has.
[[nodiscard]] bool is_lowered(std::string_view text);

// "3SEND_F0", "3REDUCE_GRAD", ..
[[nodiscard]] bool is_lowered_cell(std::string_view cell);

// "3UNSHARD", "3RESHARD".
[[nodiscard]] bool is_sharding(std::string_view cell);

// Throws Error (invalid_schedule) with origin, line and column.
[[nodiscard]] LoweredSchedule parse_lowered(std::string_view text, const std::string& origin);

// As compile() of the schedule and its communication; also says what PyTorch does not survive: a
// send or receive between stages of one rank, a send after the backward that frees what it sends, a
// reduction that is repeated or too early; and warns of one that is missing.
[[nodiscard]] Compilation compile(const LoweredSchedule& lowered, Topology topology, int buffering);

}  // namespace dualpipe
