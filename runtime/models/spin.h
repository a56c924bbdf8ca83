// The model `spin`: calls take the time that the cost model gives their ops, and compute nothing.
// It sleeps, so ranks do not compete for processors, and a run on a small machine shows what the
// schedule does at the modelled times; what one call oversleeps is taken off the next. Its messages
// say who wrote them, and a stage checks the ones it gets: a message that strayed is an error here,
// not a wrong number.

#pragma once

#include "runtime/models/model.h"
#include "runtime/stage.h"

namespace dualpipe {

// As Model::make. Linux only: Stage::allocate() sets the calling thread's timer slack to 1 ns (the
// kernel's default, 50 us, would be added to every sleep), so the rank's own thread must call it.
// The calls throw std::runtime_error for a message that is not the expected one.
[[nodiscard]] StageFactory make_spin(const ModelOptions& options, Math& math);

// Throws Error (usage) where make_spin() would; for other ways to spin.
void check_spin_options(const ModelOptions& options);

}  // namespace dualpipe
