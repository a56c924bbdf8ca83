// Schedules in which every op takes one slot of time, and nothing ever waits.
//
// A microbatch that enters at slot t is forwarded by stage s at t + s; its backward comes past
// stage s at t + 2S-1-s, for S stages. If one enters every second slot, its rank's forwards fall
// into slots of one parity and leave the other to what comes towards them: the next chunk of a
// wave, the other direction, the backwards. As many enter as there is room for before the first
// one's last backward comes out; they are a block. The next block begins in the slot after the last
// that the rank has free, so that blocks join without a gap. A value is read in the slot after the
// one that writes it, so that messages neither pile up nor overtake each other.
//
//   slot    0  1  2  3  4  5  6  7  8  9      A block of Chimera: 0 and 1 enter at rank 0,
//   rank 0  F0    F1 F2 B2 F3 B3 B0    B1     2 and 3 at rank 3.
//   rank 1     F0 F2 F1 F3 B2 B0 B3 B1
//   rank 2     F2 F0 F3 F1 B0 B2 B1 B3
//   rank 3  F2    F3 F0 B0 F1 B1 B2    B3
//
// Where backwards take longer than forwards the order stays the same, and gaps open at the joints
// of the blocks.

#pragma once

#include "costs/cost_model.h"
#include "scheduler/pipeline.h"
#include "scheduler/schedule.h"

namespace dualpipe {

struct Block {
  int entries = 0;   // that follow one another in each direction, every second slot
  int together = 1;  // microbatches that enter as one: a slot holds the forwards of all of them,
                     // and the backward of one; those follow every second slot too
};

// Microbatches are split between the directions as directions_of_microbatches() does; the last
// block may be short of some.
// Requires: every rank holds as many stages as any other, and no two ops of a rank fall into the
// same slot.
[[nodiscard]] RankOrders unit_slots(const Placement& placement, int microbatches,
                                    const Block& block);

// What every rank idles in `blocks` full blocks of one microbatch per entry, if transfers take no
// time: at the ends a slot of the longer kind for every entry after the first, twice, and at every
// joint as often the difference of the two kinds. Exact unless there is only one chunk in only one
// direction; that is 1F1B, whose blocks always join.
[[nodiscard]] Time idle_of_blocks(const Block& block, int blocks, const StageCosts& stage);

}  // namespace dualpipe
