// The Gaussian error linear unit in its tanh form: Hendrycks and Gimpel (2016), as in GPT-2.

#pragma once

#include <span>

namespace dualpipe {

// Writes the unit's value for each of `values` to `output`, and puts its slope in the value's
// place: both need the same exponential, and a backward needs nothing else. Requires: equal sizes.
void gelu(std::span<float> values, std::span<float> output);

}  // namespace dualpipe
