#include "runtime/models/gelu.h"

#include <cmath>
#include <cstddef>
#include <numbers>
#include <vector>

#include <gtest/gtest.h>

namespace dualpipe {
namespace {

// The published form: x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))).
double published(double value) {
  const double inner =
      std::sqrt(2.0 / std::numbers::pi) * (value + 0.044715 * value * value * value);
  return 0.5 * value * (1.0 + std::tanh(inner));
}

TEST(Gelu, ValueAndSlopeAreThePublishedOnes) {
  std::vector<float> values;
  for (double value = -8.0; value <= 8.0; value += 0.125) {
    values.push_back(static_cast<float>(value));
  }
  const std::vector<float> inputs = values;
  std::vector<float> output(values.size());
  gelu(values, output);
  for (std::size_t element = 0; element < inputs.size(); ++element) {
    const double input = inputs[element];
    EXPECT_NEAR(output[element], published(input), 2e-6) << input;
    const double slope = (published(input + 1e-5) - published(input - 1e-5)) / 2e-5;
    EXPECT_NEAR(values[element], slope, 2e-6) << input;
  }
}

TEST(Gelu, SaturatesWithoutOverflow) {
  std::vector<float> values{-1000.0F, 1000.0F, 0.0F};
  std::vector<float> output(3);
  gelu(values, output);
  EXPECT_EQ(output, (std::vector<float>{0.0F, 1000.0F, 0.0F}));
  EXPECT_EQ(values, (std::vector<float>{0.0F, 1.0F, 0.5F}));
}

}  // namespace
}  // namespace dualpipe
