#include "runtime/models/attention.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>

#include "runtime/models/float_array.h"
#include "runtime/models/gemm.h"

namespace dualpipe {
namespace {

// The position attends to itself and to the ones before it.
void causal_softmax(std::span<float> scores, std::size_t position) {
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

// In: gradients of the probabilities. Out: gradients of the scores.
void softmax_backward(std::span<const float> probabilities, std::span<float> gradients) {
  float product = 0.0F;
  for (std::size_t key = 0; key < gradients.size(); ++key) {
    product += probabilities[key] * gradients[key];
  }
  for (std::size_t key = 0; key < gradients.size(); ++key) {
    gradients[key] = probabilities[key] * (gradients[key] - product);
  }
}

// Where one head of one sample is in the matrices of all.
struct Head {
  const AttentionShape& shape;
  std::size_t sample = 0;
  std::size_t head = 0;

  // part: 0 queries, 1 keys, 2 values.
  [[nodiscard]] Matrix projection(std::span<float> projections, std::size_t part) const {
    const std::size_t stride = 3 * shape.width();
    const std::size_t offset = sample * shape.sequence_length * stride + part * shape.width();
    return rows_of(projections.data() + offset + head * shape.head_width, stride);
  }
  [[nodiscard]] Matrix output(std::span<float> output) const {
    return rows_of(output.data() + output_offset(), shape.width());
  }
  [[nodiscard]] ConstMatrix output(std::span<const float> output) const {
    return {.data = output.data() + output_offset(),
            .rows = shape.sequence_length,
            .columns = shape.head_width,
            .stride = shape.width()};
  }
  // sequence x sequence, row by row.
  [[nodiscard]] std::span<float> probabilities(std::span<float> probabilities) const {
    return probabilities.subspan((sample * shape.heads + head) * shape.scores(), shape.scores());
  }

 private:
  [[nodiscard]] std::size_t output_offset() const {
    return sample * shape.sequence_length * shape.width() + head * shape.head_width;
  }
  [[nodiscard]] Matrix rows_of(float* data, std::size_t stride) const {
    return {
        .data = data, .rows = shape.sequence_length, .columns = shape.head_width, .stride = stride};
  }
};

Matrix square(std::span<float> values, std::size_t size) {
  return {.data = values.data(), .rows = size, .columns = size, .stride = size};
}

ConstMatrix readable(const Matrix& matrix) {
  return {
      .data = matrix.data, .rows = matrix.rows, .columns = matrix.columns, .stride = matrix.stride};
}

float score_scale(const AttentionShape& shape) {
  return 1.0F / std::sqrt(static_cast<float>(shape.head_width));
}

}  // namespace

CausalAttention::CausalAttention(const AttentionShape& shape, FloatLayout& slot_layout)
    : shape_(shape),
      projections_(slot_layout.add(shape.rows() * 3 * shape.width())),
      probabilities_(slot_layout.add(shape.samples * shape.heads * shape.scores())),
      output_(slot_layout.add(shape.rows() * shape.width())),
      projections_gradient_(slot_layout.add(shape.rows() * 3 * shape.width())) {}

void CausalAttention::forward(std::span<float> slot) const {
  const std::size_t length = shape_.sequence_length;
  const std::span<float> all = projections(slot);
  for (std::size_t sample = 0; sample < shape_.samples; ++sample) {
    for (std::size_t head = 0; head < shape_.heads; ++head) {
      const Head place{.shape = shape_, .sample = sample, .head = head};
      const ConstMatrix queries = readable(place.projection(all, 0));
      const ConstMatrix keys = readable(place.projection(all, 1));
      const ConstMatrix values = readable(place.projection(all, 2));
      const std::span<float> probabilities = place.probabilities(probabilities_.in(slot));
      multiply({.left = queries, .right = transposed(keys), .scale = score_scale(shape_)},
               square(probabilities, length));
      for (std::size_t position = 0; position < length; ++position) {
        causal_softmax(probabilities.subspan(position * length, length), position);
      }
      multiply({.left = readable(square(probabilities, length)), .right = values},
               place.output(output(slot)));
    }
  }
}

void CausalAttention::backward(std::span<const float> output_gradient,
                               const StageMemory& memory) const {
  const std::size_t length = shape_.sequence_length;
  const float scale = score_scale(shape_);
  const std::span<float> all = projections(memory.slot);
  const std::span<float> gradients = projections_gradient(memory.slot);
  const std::span<float> scores = memory.scratch.first(shape_.scores());
  const Matrix scores_gradient = square(scores, length);
  for (std::size_t sample = 0; sample < shape_.samples; ++sample) {
    for (std::size_t head = 0; head < shape_.heads; ++head) {
      const Head place{.shape = shape_, .sample = sample, .head = head};
      const ConstMatrix queries = readable(place.projection(all, 0));
      const ConstMatrix keys = readable(place.projection(all, 1));
      const ConstMatrix values = readable(place.projection(all, 2));
      const ConstMatrix slopes = place.output(output_gradient);
      const std::span<float> probabilities = place.probabilities(probabilities_.in(memory.slot));
      multiply({.left = transposed(readable(square(probabilities, length))), .right = slopes},
               place.projection(gradients, 2));
      multiply({.left = slopes, .right = transposed(values)}, scores_gradient);
      for (std::size_t position = 0; position < length; ++position) {
        softmax_backward(probabilities.subspan(position * length, length),
                         scores.subspan(position * length, length));
      }
      multiply({.left = readable(scores_gradient), .right = keys, .scale = scale},
               place.projection(gradients, 0));
      multiply({.left = transposed(readable(scores_gradient)), .right = queries, .scale = scale},
               place.projection(gradients, 1));
    }
  }
}

}  // namespace dualpipe
