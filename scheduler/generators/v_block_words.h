// Words made of a V's building block, with ends of their own: what repeats is the block's, but the
// pipeline fills and empties as fast as the memory allows, which the repeated block alone does not
// (repeat, squeeze, reorder; Qi et al., Pipeline Parallelism with Controllable Memory, NeurIPS
// 2024).

#pragma once

#include <optional>

#include "scheduler/arrange/periodic.h"
#include "scheduler/arrange/tracks.h"

namespace dualpipe {

// No rank holds more activations than that which holds most of the repeated block. Blind to the
// costs, like the block: everything takes a slot. None where the ends do not fit to the block.
// Requires: tracks of a V with one direction; a block in whole slots, in which every pass of a rank
// has a slot of its own, also modulo the period.
[[nodiscard]] std::optional<Words> v_block_words(const Tracks& tracks, const PeriodicPlan& block);

}  // namespace dualpipe
