// Finds out what a list of ops does not say: how many stages and microbatches there are, and which
// rank runs which stage for which direction.

#pragma once

#include <string>
#include <vector>

#include "scheduler/pipeline.h"
#include "scheduler/schedule.h"

namespace dualpipe {

// A microbatch's way through the ranks is where its ops are. Microbatches that go the same way form
// a direction, numbered in order of appearance; where that gives more than two, the file is taken
// for one direction with each stage on the rank that has most of its ops, and compile() says what
// is misplaced. Throws Error (invalid_schedule), prefixed with `origin`, where ops are so few that
// a stage's rank cannot be told.
[[nodiscard]] Pipeline infer_pipeline(const std::vector<std::vector<Slot>>& ranks,
                                      const std::string& origin);

// The file name without folder and extension: "mine" for "bench/mine.csv";
// "schedule" where that is not plain ASCII.
[[nodiscard]] std::string name_from_origin(const std::string& origin);

}  // namespace dualpipe
