// What the tracks hold, and how much they may: in the terms of the user's limit, or of the family's
// own.

#pragma once

#include <cstdint>
#include <string_view>

#include "scheduler/arrange/tracks.h"
#include "scheduler/generate.h"

namespace dualpipe {

// What a family is known for, in stage activations per rank.
struct OwnLimit {
  std::int64_t activations = 0;
  bool halved_by_input = false;  // an input half frees half of the activation
};

// Sets the limit and what ops hold: from target.memory, in its unit, or else from `own`.
// Throws Error (infeasible) naming the least that would do where the target's limit is too low.
// A limit of the family's own is raised to what one microbatch needs.
void set_memory_model(Tracks& tracks, const Target& target, const OwnLimit& own,
                      std::string_view family);

}  // namespace dualpipe
