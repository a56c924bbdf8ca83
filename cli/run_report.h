// What rank 0 says when a run is done.

#pragma once

#include "cli/run_options.h"
#include "runtime/train.h"
#include "scheduler/program.h"

namespace dualpipe {

// Table or JSON on stdout, and the timeline where one was asked for.
void write_report(const TrainReport& report, const RunOptions& options, const Program& program);

}  // namespace dualpipe
