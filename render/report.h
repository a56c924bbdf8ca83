// What `simulate` and `dualpipe-run` tell people: metrics as a table.

#pragma once

#include <string>

#include "scheduler/pipeline.h"
#include "trace/metrics.h"

namespace dualpipe {

// "1f1b: 4 ranks, 4 stages, 8 microbatches", and a newline.
[[nodiscard]] std::string headline(const Pipeline& pipeline);

// What was run, one row per rank, and the figures of the whole step. Times in the unit of the step
// time; bytes only where some are known. Requires: `metrics` are those of a timeline of `pipeline`.
[[nodiscard]] std::string metrics_table(const Pipeline& pipeline, const Metrics& metrics);

}  // namespace dualpipe
