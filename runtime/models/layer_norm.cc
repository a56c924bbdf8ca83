#include "runtime/models/layer_norm.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <string>

#include "runtime/models/float_array.h"
#include "runtime/models/parameters.h"

namespace dualpipe {
namespace {

constexpr float epsilon = 1e-5F;  // under the root

}  // namespace

LayerNorm::LayerNorm(const LayerNormShape& shape, const std::string& name, Parameters& parameters,
                     FloatLayout& slot_layout)
    : shape_(shape),
      gain_(parameters.add_constant(name + ".gain", shape.width, 1.0F)),
      bias_(parameters.add_constant(name + ".bias", shape.width, 0.0F)),
      normalised_(slot_layout.add(shape.rows * shape.width)),
      deviation_inverse_(slot_layout.add(shape.rows)),
      output_gradient_(slot_layout.add(shape.rows * shape.width)) {}

void LayerNorm::normalise(std::span<const float> input, std::span<float> slot) const {
  const std::span<float> normalised = normalised_.in(slot);
  const std::span<float> deviation_inverse = deviation_inverse_.in(slot);
  const float width_inverse = 1.0F / static_cast<float>(shape_.width);
  for (std::size_t row = 0; row < shape_.rows; ++row) {
    const std::span<const float> from = input.subspan(row * shape_.width, shape_.width);
    const std::span<float> to = normalised.subspan(row * shape_.width, shape_.width);
    float sum = 0.0F;
    for (const float value : from) {
      sum += value;
    }
    const float mean = sum * width_inverse;
    float squares = 0.0F;
    for (std::size_t column = 0; column < from.size(); ++column) {
      to[column] = from[column] - mean;
      squares += to[column] * to[column];
    }
    const float inverse = 1.0F / std::sqrt(squares * width_inverse + epsilon);
    for (float& value : to) {
      value *= inverse;
    }
    deviation_inverse[row] = inverse;
  }
}

void LayerNorm::write_output(const Parameters& parameters, std::span<const float> slot,
                             std::span<float> output) const {
  const std::span<const float> gain = gain_.in(parameters.values());
  const std::span<const float> bias = bias_.in(parameters.values());
  const std::span<const float> normalised = normalised_.in(slot);
  for (std::size_t row = 0; row < shape_.rows; ++row) {
    const std::span<const float> from = normalised.subspan(row * shape_.width, shape_.width);
    const std::span<float> to = output.subspan(row * shape_.width, shape_.width);
    for (std::size_t column = 0; column < to.size(); ++column) {
      to[column] = from[column] * gain[column] + bias[column];
    }
  }
}

// With n the normalised row, d = output gradient * gain and <> the mean over the row:
// input gradient = (d - <d> - n <d n>) / deviation.
void LayerNorm::backward_input(const Parameters& parameters, std::span<const float> slot,
                               std::span<float> input_gradient) const {
  const std::span<const float> gain = gain_.in(parameters.values());
  const std::span<const float> deviation_inverse = deviation_inverse_.in(slot);
  const float width_inverse = 1.0F / static_cast<float>(shape_.width);
  for (std::size_t row = 0; row < shape_.rows; ++row) {
    const std::size_t offset = row * shape_.width;
    const std::span<const float> normalised = normalised_.in(slot).subspan(offset, shape_.width);
    const std::span<const float> slopes = output_gradient_.in(slot).subspan(offset, shape_.width);
    const std::span<float> to = input_gradient.subspan(offset, shape_.width);
    float sum = 0.0F;
    float products = 0.0F;
    for (std::size_t column = 0; column < to.size(); ++column) {
      const float scaled = slopes[column] * gain[column];
      sum += scaled;
      products += scaled * normalised[column];
    }
    const float mean = sum * width_inverse;
    const float mean_product = products * width_inverse;
    for (std::size_t column = 0; column < to.size(); ++column) {
      const float centred = slopes[column] * gain[column] - mean;
      to[column] += deviation_inverse[row] * (centred - normalised[column] * mean_product);
    }
  }
}

void LayerNorm::backward_weight(std::span<const float> slot, std::span<float> gradient) const {
  const std::span<float> gain_gradient = gain_.in(gradient);
  const std::span<float> bias_gradient = bias_.in(gradient);
  std::ranges::fill(gain_gradient, 0.0F);
  std::ranges::fill(bias_gradient, 0.0F);
  for (std::size_t row = 0; row < shape_.rows; ++row) {
    const std::size_t offset = row * shape_.width;
    const std::span<const float> normalised = normalised_.in(slot).subspan(offset, shape_.width);
    const std::span<const float> slopes = output_gradient_.in(slot).subspan(offset, shape_.width);
    for (std::size_t column = 0; column < shape_.width; ++column) {
      gain_gradient[column] += slopes[column] * normalised[column];
      bias_gradient[column] += slopes[column];
    }
  }
}

}  // namespace dualpipe
