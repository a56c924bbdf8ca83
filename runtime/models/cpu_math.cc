#include "runtime/models/cpu_math.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>

#include "costs/check.h"
#include "runtime/device.h"
#include "runtime/models/cross_entropy.h"
#include "runtime/models/gelu.h"
#include "runtime/models/gemm.h"
#include "runtime/models/math.h"

namespace dualpipe {
namespace {

constexpr float norm_epsilon = 1e-5F;  // under the root

// Row `row` of rows of this width, one behind another.
template <typename Value>
std::span<Value> row_of(std::span<Value> rows, std::size_t row, std::size_t width) {
  return rows.subspan(row * width, width);
}

void add_to(std::span<float> sum, std::span<const float> values) {
  for (std::size_t column = 0; column < sum.size(); ++column) {
    sum[column] += values[column];
  }
}

// The position attends to itself and to the ones before it.
void softmax_of_position(std::span<float> scores, std::size_t position) {
  const std::span<float> seen = scores.first(position + 1);
  const float largest = *std::ranges::max_element(seen);
  float sum = 0.0F;
  for (float& score : seen) {
    score = std::exp(score - largest);
    sum += score;
  }
  const float sum_inverse = 1.0F / sum;
  for (float& score : seen) {
    score *= sum_inverse;
  }
  std::ranges::fill(scores.subspan(position + 1), 0.0F);
}

void softmax_backward(std::span<const float> probabilities, std::span<float> gradients) {
  float product = 0.0F;
  for (std::size_t key = 0; key < gradients.size(); ++key) {
    product += probabilities[key] * gradients[key];
  }
  for (std::size_t key = 0; key < gradients.size(); ++key) {
    gradients[key] = probabilities[key] * (gradients[key] - product);
  }
}

// Returns 1 / deviation.
float normalise_row(std::span<const float> from, std::span<float> to) {
  const float width_inverse = 1.0F / static_cast<float>(from.size());
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
  const float inverse = 1.0F / std::sqrt(squares * width_inverse + norm_epsilon);
  for (float& value : to) {
    value *= inverse;
  }
  return inverse;
}

}  // namespace

CpuMath::CpuMath(Device& device) : device_(device) {
  // A queue that the host could run ahead of would not be waited for.
  CHECK(device.memory_is_hosts() && device.run_ahead_max() == 0);
  use_one_blas_thread();
}

void CpuMath::copy(std::span<const std::byte> from, std::span<std::byte> to) {
  CHECK(from.size() == to.size());
  std::ranges::copy(from, to.begin());
}

void CpuMath::zero(std::span<float> values) {
  std::ranges::fill(values, 0.0F);
}

void CpuMath::multiply(const Product& product, const Matrix& result) {
  dualpipe::multiply(product, result);
}

void CpuMath::set_rows(std::span<const float> row, std::span<float> rows) {
  CHECK(rows.size() % row.size() == 0);
  for (; !rows.empty(); rows = rows.subspan(row.size())) {
    std::ranges::copy(row, rows.begin());
  }
}

void CpuMath::add_to_rows(std::span<const float> row, std::span<float> rows) {
  CHECK(rows.size() % row.size() == 0);
  for (; !rows.empty(); rows = rows.subspan(row.size())) {
    add_to(rows.first(row.size()), row);
  }
}

void CpuMath::sum_rows(std::span<const float> rows, std::span<float> sum) {
  CHECK(rows.size() % sum.size() == 0);
  std::ranges::fill(sum, 0.0F);
  for (; !rows.empty(); rows = rows.subspan(sum.size())) {
    add_to(sum, rows.first(sum.size()));
  }
}

void CpuMath::gelu(std::span<float> values, std::span<float> output) {
  dualpipe::gelu(values, output);
}

void CpuMath::multiply_elements(std::span<const float> factors, std::span<float> values) {
  CHECK(factors.size() == values.size());
  for (std::size_t element = 0; element < values.size(); ++element) {
    values[element] *= factors[element];
  }
}

void CpuMath::normalise(std::span<const float> rows, const NormalisedRows& result) {
  const std::size_t count = result.deviation_inverse.size();
  CHECK(rows.size() == result.values.size() && rows.size() % count == 0);
  const std::size_t width = rows.size() / count;
  for (std::size_t row = 0; row < count; ++row) {
    result.deviation_inverse[row] =
        normalise_row(row_of(rows, row, width), row_of(result.values, row, width));
  }
}

void CpuMath::scale_rows(std::span<const float> rows, const NormScale& scale,
                         std::span<float> output) {
  const std::size_t width = scale.gain.size();
  CHECK(scale.bias.size() == width && rows.size() == output.size() && rows.size() % width == 0);
  for (std::size_t row = 0; row < rows.size() / width; ++row) {
    const std::span<const float> from = row_of(rows, row, width);
    const std::span<float> to = row_of(output, row, width);
    for (std::size_t column = 0; column < width; ++column) {
      to[column] = from[column] * scale.gain[column] + scale.bias[column];
    }
  }
}

// With n the normalised row, d = output gradient * gain and <> the mean over the row:
// input gradient = (d - <d> - n <d n>) / deviation.
void CpuMath::norm_backward_input(const NormBackwardInput& backward,
                                  std::span<float> input_gradient) {
  const std::span<const float> gain = backward.gain;
  const std::size_t width = gain.size();
  CHECK(input_gradient.size() == backward.deviation_inverse.size() * width);
  const float width_inverse = 1.0F / static_cast<float>(width);
  for (std::size_t row = 0; row < backward.deviation_inverse.size(); ++row) {
    const std::span<const float> normalised = row_of(backward.normalised, row, width);
    const std::span<const float> slopes = row_of(backward.output_gradient, row, width);
    const std::span<float> to = row_of(input_gradient, row, width);
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
      to[column] += backward.deviation_inverse[row] * (centred - normalised[column] * mean_product);
    }
  }
}

void CpuMath::norm_backward_weight(const NormBackwardWeight& backward,
                                   const NormScaleGradient& gradient) {
  const std::size_t width = gradient.gain.size();
  CHECK(backward.normalised.size() == backward.output_gradient.size());
  CHECK(gradient.bias.size() == width && backward.normalised.size() % width == 0);
  std::ranges::fill(gradient.gain, 0.0F);
  std::ranges::fill(gradient.bias, 0.0F);
  for (std::size_t row = 0; row < backward.normalised.size() / width; ++row) {
    const std::span<const float> normalised = row_of(backward.normalised, row, width);
    const std::span<const float> slopes = row_of(backward.output_gradient, row, width);
    for (std::size_t column = 0; column < width; ++column) {
      gradient.gain[column] += slopes[column] * normalised[column];
      gradient.bias[column] += slopes[column];
    }
  }
}

void CpuMath::causal_softmax(std::span<float> scores, std::size_t length) {
  CHECK(scores.size() % (length * length) == 0);
  for (std::size_t row = 0; row < scores.size() / length; ++row) {
    softmax_of_position(row_of(scores, row, length), row % length);
  }
}

void CpuMath::causal_softmax_backward(std::span<const float> probabilities,
                                      std::span<float> gradients, std::size_t length) {
  CHECK(probabilities.size() == gradients.size() && gradients.size() % (length * length) == 0);
  for (std::size_t row = 0; row < gradients.size() / length; ++row) {
    softmax_backward(row_of(probabilities, row, length), row_of(gradients, row, length));
  }
}

void CpuMath::embed(std::span<const std::uint8_t> tokens, const EmbeddingTables& tables,
                    std::span<float> rows) {
  const std::size_t width = tables.width;
  CHECK(rows.size() == tokens.size() * width);
  const std::size_t positions = tables.position.size() / width;
  for (std::size_t row = 0; row < tokens.size(); ++row) {
    const std::span<const float> by_token = row_of(tables.token, tokens[row], width);
    const std::span<const float> by_position = row_of(tables.position, row % positions, width);
    const std::span<float> to = row_of(rows, row, width);
    for (std::size_t column = 0; column < width; ++column) {
      to[column] = by_token[column] + by_position[column];
    }
  }
}

void CpuMath::embed_backward(std::span<const std::uint8_t> tokens,
                             std::span<const float> rows_gradient,
                             const EmbeddingGradients& gradients) {
  const std::size_t width = gradients.width;
  CHECK(rows_gradient.size() == tokens.size() * width);
  const std::size_t positions = gradients.position.size() / width;
  std::ranges::fill(gradients.token, 0.0F);
  std::ranges::fill(gradients.position, 0.0F);
  for (std::size_t row = 0; row < tokens.size(); ++row) {
    const std::span<const float> slopes = row_of(rows_gradient, row, width);
    add_to(row_of(gradients.token, tokens[row], width), slopes);
    add_to(row_of(gradients.position, row % positions, width), slopes);
  }
}

void CpuMath::cross_entropy(std::span<const std::uint8_t> targets, double weight,
                            std::span<float> logits, const LossPlace& loss) {
  *loss.total = dualpipe::cross_entropy(targets, weight, logits);
}

void CpuMath::squared_error(std::span<const float> targets, double weight,
                            std::span<float> predictions, const LossPlace& loss) {
  CHECK(targets.size() == predictions.size());
  const float slope = static_cast<float>(2.0 * weight);
  double squares = 0.0;
  for (std::size_t element = 0; element < predictions.size(); ++element) {
    const float error = predictions[element] - targets[element];
    squares += static_cast<double>(error) * static_cast<double>(error);
    predictions[element] = slope * error;
  }
  *loss.total = weight * squares;
}

void CpuMath::adamw(const AdamWStep& step, const AdamWTensor& tensor) {
  const std::size_t size = tensor.values.size();
  CHECK(tensor.gradient.size() == size && tensor.first_moment.size() == size &&
        tensor.second_moment.size() == size);
  const AdamWStep by = step;  // a copy, that no store to the moments can be thought to change
  const std::span<float> first = tensor.first_moment;
  const std::span<float> second = tensor.second_moment;
  for (std::size_t element = 0; element < size; ++element) {
    const float slope = tensor.gradient[element];
    first[element] = by.beta1 * first[element] + (1.0F - by.beta1) * slope;
    second[element] = by.beta2 * second[element] + (1.0F - by.beta2) * slope * slope;
    const float root = std::sqrt(second[element] * by.second_scale) + by.epsilon;
    tensor.values[element] = by.kept * tensor.values[element] - by.rate * first[element] / root;
  }
}

}  // namespace dualpipe
