// Math: the arithmetic of the built-in models, as few functions on the memory of one device as they
// can be written with. A layer says what is computed, a Math how: the host at once (CpuMath), a GPU
// in its queue (CudaMath).
//
// Everything takes its turn in the queue of this Math, which is the device's own unless this is a
// side() of another, so memory must stay until the queue is past it. Matrices are row-major; a
// span of rows holds them one behind another, and its row length follows from the other operands.
// Operands do not overlap unless a function says that it works in place. Equal operands give equal
// bits whatever else the device does. Sizes that do not fit together are a bug.
//
// Called by the rank's thread.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "runtime/device.h"

namespace dualpipe {

// `stride` is the distance of two rows in elements. Where a product has a count, `step` is the
// distance of two matrices.
struct ConstMatrix {
  const float* data = nullptr;
  std::size_t rows = 0;
  std::size_t columns = 0;
  std::size_t stride = 0;
  bool transposed = false;  // take it as columns x rows
  std::size_t step = 0;
};

struct Matrix {
  float* data = nullptr;
  std::size_t rows = 0;
  std::size_t columns = 0;
  std::size_t stride = 0;
  std::size_t step = 0;
};

[[nodiscard]] inline ConstMatrix transposed(ConstMatrix matrix) {
  matrix.transposed = !matrix.transposed;
  return matrix;
}

struct Product {
  ConstMatrix left;
  ConstMatrix right;
  float scale = 1.0F;
  float keep = 0.0F;      // how much of the old result stays
  std::size_t count = 1;  // of products alike, as of the heads of an attention
};

// Layer normalisation of rows: output = normalised * gain + bias.
struct NormScale {
  std::span<const float> gain;
  std::span<const float> bias;
};
struct NormScaleGradient {
  std::span<float> gain;
  std::span<float> bias;
};
struct NormalisedRows {
  std::span<float> values;
  std::span<float> deviation_inverse;  // one per row
};
struct NormBackwardInput {
  std::span<const float> normalised;
  std::span<const float> deviation_inverse;
  std::span<const float> gain;
  std::span<const float> output_gradient;
};
struct NormBackwardWeight {
  std::span<const float> normalised;
  std::span<const float> output_gradient;
};

// Row `t` of `token` and row `p` of `position` add up to what a token t at position p begins as.
struct EmbeddingTables {
  std::span<const float> token;
  std::span<const float> position;
  std::size_t width = 0;
};
struct EmbeddingGradients {
  std::span<float> token;
  std::span<float> position;
  std::size_t width = 0;
};

// Where a loss is put: read it when the queue is past it.
struct LossPlace {
  std::span<float> rows;    // scratch, one per row
  double* total = nullptr;  // in MemoryHome::host
};

// One step of AdamW (adamw.h) for tensors that decay alike, with what depends on the step alone
// worked out:
//   first = beta1 first + (1 - beta1) g;  second = beta2 second + (1 - beta2) g^2
//   value = kept value - rate first / (sqrt(second_scale second) + epsilon)
struct AdamWStep {
  float beta1 = 0.0F;
  float beta2 = 0.0F;
  float second_scale = 0.0F;
  float rate = 0.0F;
  float epsilon = 0.0F;
  float kept = 0.0F;
};
struct AdamWTensor {
  std::span<const float> gradient;
  std::span<float> first_moment;
  std::span<float> second_moment;
  std::span<float> values;
};

// What a product's operands are rounded to. Parameters, sums and everything that is not a product
// are float32 in any case.
enum class ProductPrecision { float32, bfloat16 };

class Math {
 public:
  virtual ~Math() = default;

  [[nodiscard]] virtual Device& device() = 0;
  [[nodiscard]] virtual ProductPrecision precision() const = 0;

  // A Math of the same device whose queue can run beside this one's; nullptr where there is none.
  // After fork() the side goes on behind all that this one was asked for; after join() this one
  // goes on behind all that the side was asked for.
  [[nodiscard]] virtual Math* side() = 0;
  virtual void fork() = 0;
  virtual void join() = 0;

  virtual void copy(std::span<const std::byte> from, std::span<std::byte> to) = 0;
  void copy(std::span<const float> from, std::span<float> to) {
    copy(std::as_bytes(from), std::as_writable_bytes(to));
  }
  virtual void zero(std::span<float> values) = 0;

  // Before the first product: elements of the largest operand that any will have, all `count`
  // matrices together. May allocate.
  virtual void reserve(std::size_t operand_size) = 0;
  // result = scale * left * right + keep * result, `count` times.
  virtual void multiply(const Product& product, const Matrix& result) = 0;

  // Every row becomes `row`, or `row` is added to every row.
  virtual void set_rows(std::span<const float> row, std::span<float> rows) = 0;
  virtual void add_to_rows(std::span<const float> row, std::span<float> rows) = 0;
  virtual void sum_rows(std::span<const float> rows, std::span<float> sum) = 0;

  // As gelu.h's, in place for the slopes.
  virtual void gelu(std::span<float> values, std::span<float> output) = 0;
  // values[i] *= factors[i].
  virtual void multiply_elements(std::span<const float> factors, std::span<float> values) = 0;

  // A row less its mean, over its deviation: sqrt(variance + 1e-5).
  virtual void normalise(std::span<const float> rows, const NormalisedRows& result) = 0;
  virtual void scale_rows(std::span<const float> rows, const NormScale& scale,
                          std::span<float> output) = 0;
  // Adds to `input_gradient`.
  virtual void norm_backward_input(const NormBackwardInput& backward,
                                   std::span<float> input_gradient) = 0;
  virtual void norm_backward_weight(const NormBackwardWeight& backward,
                                    const NormScaleGradient& gradient) = 0;

  // Squares of length x length, one behind another, in place: row p becomes the softmax of its
  // first p + 1 elements, and 0 after them.
  virtual void causal_softmax(std::span<float> scores, std::size_t length) = 0;
  // In place: from gradients of the probabilities to gradients of the scores.
  virtual void causal_softmax_backward(std::span<const float> probabilities,
                                       std::span<float> gradients, std::size_t length) = 0;

  // Rows for tokens, of which the first of every sequence has position 0. Requires: the table has
  // a row for every token.
  virtual void embed(std::span<const std::uint8_t> tokens, const EmbeddingTables& tables,
                     std::span<float> rows) = 0;
  // Overwrites the gradients: sums over rows, in the order of the rows.
  virtual void embed_backward(std::span<const std::uint8_t> tokens,
                              std::span<const float> rows_gradient,
                              const EmbeddingGradients& gradients) = 0;

  // The sum over rows of weight * -log softmax(row)[target], and its gradient in place of the
  // logits. Requires: every target is less than the row's length.
  virtual void cross_entropy(std::span<const std::uint8_t> targets, double weight,
                             std::span<float> logits, const LossPlace& loss) = 0;
  // weight * the sum of (prediction - target)^2, and its gradient in place of the predictions.
  virtual void squared_error(std::span<const float> targets, double weight,
                             std::span<float> predictions, const LossPlace& loss) = 0;

  virtual void adamw(const AdamWStep& step, const AdamWTensor& tensor) = 0;
};

}  // namespace dualpipe
