// What a stage of the built-in models remembers from step to step, as bytes on the host: its
// parameters and its optimizer.

#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "runtime/device.h"
#include "runtime/models/adamw.h"
#include "runtime/models/parameters.h"

namespace dualpipe {

// Both wait for the device, whose memory the values are in, and throw Error (timeout) when it does
// not come to the end of its queue within a minute.

[[nodiscard]] std::vector<std::byte> save_state(Device& device, const Parameters& parameters,
                                                const AdamW& optimizer);

// Throws Error (input_output) when the bytes are those of a stage of another size.
void restore_state(Device& device, std::span<const std::byte> state, Parameters& parameters,
                   AdamW& optimizer);

}  // namespace dualpipe
