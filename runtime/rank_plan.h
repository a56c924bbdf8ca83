// RankPlan: where one rank keeps what, worked out once from the Program: which Stage object runs
// each op, which of the stage's activation slots a microbatch occupies, and where each op's input
// comes from and its output goes. Slots and buffers are given out by the order of execution, first
// free first, so their numbers are the true peaks and no step needs more.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "scheduler/op.h"
#include "scheduler/program.h"

namespace dualpipe {

// Where bytes are while an op runs.
struct Place {
  enum class Kind : std::uint8_t { nowhere, message, local };
  Kind kind = Kind::nowhere;
  std::int32_t index = 0;  // of the message in the Program, or of the local buffer

  bool operator==(const Place&) const = default;
};

struct OpPlan {
  int held = 0;             // index into RankPlan::stages
  int activation_slot = 0;  // of that stage
  Place input;              // a forward's input, or a backward's output gradient
  Place output;             // a forward's output, or a backward's input gradient
};

struct RankPlan {
  struct HeldStage {
    int stage = 0;
    int direction = 0;
    int activation_slots = 0;
    std::vector<int> weight_order;  // microbatches, in the order of their weight gradients
  };
  // A buffer for values that one stage hands to the next on the same rank.
  struct LocalBuffer {
    ValueKind kind = ValueKind::activation;
    int writer = 0;  // index into `stages`
  };

  int rank = 0;
  std::vector<HeldStage> stages;  // sorted by (stage, direction)
  std::vector<LocalBuffer> local_buffers;
  std::vector<std::array<OpPlan, 2>> slots;  // [slot][op of the slot]
};

[[nodiscard]] RankPlan plan_rank(const Program& program, int rank);

// How many sends and receives of a rank are under way at once, at the most, in the program as it
// would be with so many send slots; with its own number (and one for none) that is what it is, or
// in groups a little less. Requires: send_slots > 0.
[[nodiscard]] std::size_t under_way_max(const Program& program, int rank, int send_slots);

// Throws Error (usage) when that is more than a transport holds (operations.h), saying how many
// send slots are not too many.
void require_room(const Program& program, int rank);

}  // namespace dualpipe
