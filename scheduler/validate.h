// The first half of compile(): is every op there once, on the right rank, after what it reads
// there?

#pragma once

#include <string>
#include <vector>

#include "scheduler/schedule.h"
#include "scheduler/violations.h"

namespace dualpipe {

// Adds every violation of kind shape, missing, duplicate, placement and order. Linear time; memory
// in proportion to the number of ops, whatever numbers a file claims.
void validate(const Schedule& schedule, Violations& violations);

// What compile() has nothing against, but other runtimes do.
// Requires: the schedule has passed validate().
[[nodiscard]] std::vector<std::string> warnings_of(const Schedule& schedule);

}  // namespace dualpipe
