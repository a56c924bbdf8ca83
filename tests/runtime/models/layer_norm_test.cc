#include "runtime/models/layer_norm.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <span>
#include <vector>

#include <gtest/gtest.h>

#include "runtime/models/float_layout.h"
#include "runtime/models/parameters.h"
#include "tests/support/float_array.h"
#include "tests/support/host_math.h"

namespace dualpipe {
namespace {

constexpr std::size_t width = 4;
constexpr std::array<double, width> gain{1.0, -2.0, 0.5, 3.0};
constexpr std::array<double, width> bias{0.5, 1.0, 0.0, -1.0};
constexpr std::array<double, 2 * width> rows{1.0, 2.0, 3.0, 6.0, -0.5, 0.25, 0.0, -1.0};
constexpr std::array<double, 2 * width> slopes{1.0, -1.0, 2.0, 0.5, 0.25, 3.0, -2.0, 1.0};

// sum of slopes * (gain * (x - mean) / sqrt(variance + 1e-5) + bias), in double precision: its
// gradient is what a backward from these slopes computes.
double weighted_output(std::span<const double> values, std::span<const double> gains) {
  double sum = 0.0;
  for (std::size_t row = 0; row < values.size() / width; ++row) {
    const std::span<const double> from = values.subspan(row * width, width);
    double mean = 0.0;
    double square = 0.0;
    for (const double value : from) {
      mean += value / width;
      square += value * value / width;
    }
    for (std::size_t column = 0; column < width; ++column) {
      const double normalised = (from[column] - mean) / std::sqrt(square - mean * mean + 1e-5);
      sum += slopes[row * width + column] * (gains[column] * normalised + bias[column]);
    }
  }
  return sum;
}

template <typename Function>
double difference(std::vector<double> values, std::size_t element, const Function& function) {
  constexpr double step = 1e-6;
  values[element] += step;
  const double above = function(values);
  values[element] -= 2.0 * step;
  return (above - function(values)) / (2.0 * step);
}

struct Fixture {
  Parameters parameters{0};
  FloatLayout layout;
  LayerNorm norm{{.rows = 2, .width = width}, "norm", parameters, layout};
  FloatArray slot{layout.size()};

  Fixture() {
    std::ranges::transform(gain, parameters.values().begin(), as_float);
    std::ranges::transform(bias, parameters.values().subspan(width).begin(), as_float);
    std::vector<float> input(rows.size());
    std::ranges::transform(rows, input.begin(), as_float);
    norm.normalise(host_math(), input, slot.values());
    std::ranges::transform(slopes, norm.output_gradient(slot.values()).begin(), as_float);
  }
  static float as_float(double value) { return static_cast<float>(value); }
};

TEST(LayerNorm, OutputHasTheFormulasWeightedSum) {
  const Fixture fixture;
  std::vector<float> output(rows.size());
  fixture.norm.write_output(host_math(), fixture.parameters, fixture.slot.values(), output);
  double sum = 0.0;
  for (std::size_t element = 0; element < output.size(); ++element) {
    sum += slopes[element] * static_cast<double>(output[element]);
  }
  EXPECT_NEAR(sum, weighted_output(rows, gain), 1e-5);
  // A column by hand: mean 3, variance 3.5.
  EXPECT_NEAR(output[0], -2.0 / std::sqrt(3.5 + 1e-5) + 0.5, 1e-6);
}

TEST(LayerNorm, InputHalfAddsTheFormulasDifferences) {
  const Fixture fixture;
  std::vector<float> gradient(rows.size(), 100.0F);
  fixture.norm.backward_input(host_math(), fixture.parameters, fixture.slot.values(), gradient);
  for (std::size_t element = 0; element < gradient.size(); ++element) {
    const double expected =
        difference({rows.begin(), rows.end()}, element,
                   [](const std::vector<double>& values) { return weighted_output(values, gain); });
    EXPECT_NEAR(gradient[element], 100.0 + expected, 5e-5) << element;
  }
}

TEST(LayerNorm, WeightHalfOverwritesWithTheFormulasDifferences) {
  const Fixture fixture;
  std::vector<float> gradient(2 * width, -1.0F);
  fixture.norm.backward_weight(host_math(), fixture.slot.values(), gradient);
  for (std::size_t column = 0; column < width; ++column) {
    const double expected =
        difference({gain.begin(), gain.end()}, column,
                   [](const std::vector<double>& values) { return weighted_output(rows, values); });
    EXPECT_NEAR(gradient[column], expected, 1e-5) << column;
    EXPECT_NEAR(gradient[width + column], slopes[column] + slopes[width + column], 1e-6) << column;
  }
}

}  // namespace
}  // namespace dualpipe
