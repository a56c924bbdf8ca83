#include "runtime/models/attention.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <gtest/gtest.h>

#include "runtime/models/float_layout.h"
#include "runtime/models/random.h"
#include "tests/support/float_array.h"
#include "tests/support/host_math.h"

namespace dualpipe {
namespace {

constexpr AttentionShape shape{.samples = 2, .sequence_length = 3, .heads = 2, .head_width = 2};

void fill(std::span<float> values, std::uint64_t key) {
  std::uint64_t element = 0;
  for (float& value : values) {
    value = static_cast<float>(RandomStream{key}.normal(element++));
  }
}

struct Fixture {
  FloatLayout layout;
  CausalAttention attention{shape, layout};
  FloatArray slot{layout.size()};

  [[nodiscard]] std::vector<float> output() {
    attention.forward(host_math(), slot.values());
    const std::span<const float> values = attention.output(slot.values());
    return {values.begin(), values.end()};
  }
};

// Equal keys give equal weights, so a position's output is the mean of the values up to it.
TEST(CausalAttention, WithEqualKeysOutputsAreMeansOfTheValuesSoFar) {
  Fixture fixture;
  const std::span<float> projections = fixture.attention.projections(fixture.slot.values());
  fill(projections, 1);
  const std::size_t width = shape.width();
  for (std::size_t row = 0; row < shape.rows(); ++row) {
    std::ranges::fill(projections.subspan(row * 3 * width + width, width), 0.75F);
  }
  const std::vector<float> output = fixture.output();
  for (std::size_t row = 0; row < shape.rows(); ++row) {
    const std::size_t position = row % shape.sequence_length;
    for (std::size_t column = 0; column < width; ++column) {
      double mean = 0.0;
      for (std::size_t key = 0; key <= position; ++key) {
        const std::size_t from = row - position + key;
        mean += static_cast<double>(projections[from * 3 * width + 2 * width + column]) /
                static_cast<double>(position + 1);
      }
      EXPECT_NEAR(output[row * width + column], mean, 1e-6) << row << "," << column;
    }
  }
}

TEST(CausalAttention, NothingLaterAndNoOtherSampleIsSeen) {
  Fixture fixture;
  const std::span<float> projections = fixture.attention.projections(fixture.slot.values());
  fill(projections, 2);
  const std::vector<float> before = fixture.output();
  const std::size_t changed = shape.sequence_length + 1;  // second position of the second sample
  fill(projections.subspan(changed * 3 * shape.width(), 3 * shape.width()), 3);
  const std::vector<float> after = fixture.output();
  for (std::size_t row = 0; row < shape.rows(); ++row) {
    const bool same =
        std::equal(before.begin() + static_cast<std::ptrdiff_t>(row * shape.width()),
                   before.begin() + static_cast<std::ptrdiff_t>((row + 1) * shape.width()),
                   after.begin() + static_cast<std::ptrdiff_t>(row * shape.width()));
    EXPECT_EQ(same, row < changed) << row;
  }
}

// In single precision, so with a wide step; the whole model is compared in double precision.
TEST(CausalAttention, BackwardIsTheDifferenceOfTheForward) {
  Fixture fixture;
  const std::span<float> projections = fixture.attention.projections(fixture.slot.values());
  fill(projections, 4);
  std::vector<float> slopes(shape.rows() * shape.width());
  fill(slopes, 5);
  const auto weighted_output = [&] {
    const std::vector<float> output = fixture.output();
    double sum = 0.0;
    for (std::size_t element = 0; element < output.size(); ++element) {
      sum += static_cast<double>(output[element]) * static_cast<double>(slopes[element]);
    }
    return sum;
  };
  static_cast<void>(fixture.output());
  const FloatArray scratch(CausalAttention::scratch_size(shape));
  fixture.attention.backward(host_math(), slopes,
                             {.slot = fixture.slot.values(), .scratch = scratch.values()});
  const std::span<const float> found =
      fixture.attention.projections_gradient(fixture.slot.values());
  const std::vector<float> gradient(found.begin(), found.end());
  for (std::size_t element = 0; element < gradient.size(); ++element) {
    constexpr float step = 1.0F / 128.0F;
    const float value = projections[element];
    projections[element] = value + step;
    const double above = weighted_output();
    projections[element] = value - step;
    const double below = weighted_output();
    projections[element] = value;
    EXPECT_NEAR(gradient[element], (above - below) * 64.0, 1e-3) << element;
  }
}

}  // namespace
}  // namespace dualpipe
