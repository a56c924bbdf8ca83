// What a stage of the built-in models remembers from step to step, as bytes: its parameters and its
// optimizer.

#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "runtime/models/adamw.h"
#include "runtime/models/parameters.h"

namespace dualpipe {

[[nodiscard]] std::vector<std::byte> save_state(const Parameters& parameters,
                                                const AdamW& optimizer);

// Throws Error (input_output) when the bytes are those of a stage of another size.
void restore_state(std::span<const std::byte> state, Parameters& parameters, AdamW& optimizer);

}  // namespace dualpipe
