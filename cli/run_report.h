// What rank 0 says when a run is done.

#pragma once

#include "cli/run_options.h"
#include "costs/error.h"
#include "runtime/train.h"
#include "scheduler/program.h"

namespace dualpipe {

// Table or JSON on stdout, and the timeline where one was asked for, for its owner alone. Where the
// gradients were verified and are further from those without a pipeline than they may be, says so
// on stderr and returns outside_tolerance; ok otherwise.
[[nodiscard]] ExitCode write_report(const TrainReport& report, const RunOptions& options,
                                    const Program& program);

}  // namespace dualpipe
