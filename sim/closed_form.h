// The published formula of a schedule family beside what is simulated: what it gives, and where it
// does not hold for what was asked, why.

#pragma once

#include <optional>
#include <string>
#include <vector>

#include "costs/cost_model.h"
#include "scheduler/generate.h"

namespace dualpipe {

struct PublishedTime {
  // What the formula gives: for what was asked where there are no reasons against it, else for the
  // nearest case that it covers - mean stages, free transfers. None where it covers none.
  std::optional<Time> step_time;
  std::vector<std::string> reasons;  // what of the request the formula leaves out, for people
};

// Requires: the family supports the shape; costs.stages has one entry per stage.
[[nodiscard]] PublishedTime published_time(const Family& family, const Shape& shape,
                                           const CostModel& costs);

}  // namespace dualpipe
