#include "runtime/models/attention.h"

#include <cmath>
#include <cstddef>
#include <span>

#include "runtime/models/float_layout.h"
#include "runtime/models/math.h"

namespace dualpipe {
namespace {

// Where the heads of one sample are in the matrices of all: a product of matrices of each head.
struct Sample {
  const AttentionShape& shape;
  std::size_t number = 0;

  // part: 0 queries, 1 keys, 2 values.
  [[nodiscard]] Matrix projection(std::span<float> projections, std::size_t part) const {
    const std::size_t stride = 3 * shape.width();
    const std::size_t offset = number * shape.sequence_length * stride + part * shape.width();
    return {.data = projections.data() + offset,
            .rows = shape.sequence_length,
            .columns = shape.head_width,
            .stride = stride,
            .step = shape.head_width};
  }
  [[nodiscard]] Matrix output(std::span<float> output) const {
    return {.data = output.data() + output_offset(),
            .rows = shape.sequence_length,
            .columns = shape.head_width,
            .stride = shape.width(),
            .step = shape.head_width};
  }
  [[nodiscard]] ConstMatrix output(std::span<const float> output) const {
    return {.data = output.data() + output_offset(),
            .rows = shape.sequence_length,
            .columns = shape.head_width,
            .stride = shape.width(),
            .step = shape.head_width};
  }
  // heads x sequence x sequence, row by row.
  [[nodiscard]] std::span<float> probabilities(std::span<float> probabilities) const {
    const std::size_t size = shape.heads * shape.scores();
    return probabilities.subspan(number * size, size);
  }

 private:
  [[nodiscard]] std::size_t output_offset() const {
    return number * shape.sequence_length * shape.width();
  }
};

Matrix squares(std::span<float> values, std::size_t size) {
  return {
      .data = values.data(), .rows = size, .columns = size, .stride = size, .step = size * size};
}

ConstMatrix readable(const Matrix& matrix) {
  return {.data = matrix.data,
          .rows = matrix.rows,
          .columns = matrix.columns,
          .stride = matrix.stride,
          .step = matrix.step};
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

void CausalAttention::forward(Math& math, std::span<float> slot) const {
  const std::size_t length = shape_.sequence_length;
  const std::span<float> all = projections(slot);
  for (std::size_t number = 0; number < shape_.samples; ++number) {
    const Sample sample{.shape = shape_, .number = number};
    const ConstMatrix queries = readable(sample.projection(all, 0));
    const ConstMatrix keys = readable(sample.projection(all, 1));
    const ConstMatrix values = readable(sample.projection(all, 2));
    const std::span<float> probabilities = sample.probabilities(probabilities_.in(slot));
    math.multiply({.left = queries,
                   .right = transposed(keys),
                   .scale = score_scale(shape_),
                   .count = shape_.heads},
                  squares(probabilities, length));
    math.causal_softmax(probabilities, length);
    math.multiply(
        {.left = readable(squares(probabilities, length)), .right = values, .count = shape_.heads},
        sample.output(output(slot)));
  }
}

void CausalAttention::backward(Math& math, std::span<const float> output_gradient,
                               const StageMemory& memory) const {
  const std::size_t length = shape_.sequence_length;
  const std::size_t heads = shape_.heads;
  const float scale = score_scale(shape_);
  const std::span<float> all = projections(memory.slot);
  const std::span<float> gradients = projections_gradient(memory.slot);
  const std::span<float> scores = memory.scratch.first(scratch_size(shape_));
  const Matrix scores_gradient = squares(scores, length);
  for (std::size_t number = 0; number < shape_.samples; ++number) {
    const Sample sample{.shape = shape_, .number = number};
    const ConstMatrix queries = readable(sample.projection(all, 0));
    const ConstMatrix keys = readable(sample.projection(all, 1));
    const ConstMatrix values = readable(sample.projection(all, 2));
    const ConstMatrix slopes = sample.output(output_gradient);
    const std::span<float> probabilities = sample.probabilities(probabilities_.in(memory.slot));
    math.multiply({.left = transposed(readable(squares(probabilities, length))),
                   .right = slopes,
                   .count = heads},
                  sample.projection(gradients, 2));
    math.multiply({.left = slopes, .right = transposed(values), .count = heads}, scores_gradient);
    math.causal_softmax_backward(probabilities, scores, length);
    math.multiply(
        {.left = readable(scores_gradient), .right = keys, .scale = scale, .count = heads},
        sample.projection(gradients, 0));
    math.multiply({.left = transposed(readable(scores_gradient)),
                   .right = queries,
                   .scale = scale,
                   .count = heads},
                  sample.projection(gradients, 1));
  }
}

}  // namespace dualpipe
