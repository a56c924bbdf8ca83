// Max-min fair rates, from their definition.

#pragma once

#include <vector>

namespace dualpipe {

// Of flows that go through ports of capacity 1, each named by numbers: the rate of each. All rates
// that can still grow are raised together as far as the ports allow, found by bisection; flows that
// cannot be raised any more on their own keep what they have. Slow.
[[nodiscard]] std::vector<double> fair_rates(const std::vector<std::vector<int>>& ports_of_flow);

}  // namespace dualpipe
