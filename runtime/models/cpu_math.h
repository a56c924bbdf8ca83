// The host's arithmetic: OpenBLAS for products, plain loops for the rest, done when asked for.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "runtime/device.h"
#include "runtime/models/math.h"

namespace dualpipe {

class CpuMath final : public Math {
 public:
  // Requires: a device that has done what it is asked for, in memory of the host.
  explicit CpuMath(Device& device);

  [[nodiscard]] Device& device() override { return device_; }
  [[nodiscard]] ProductPrecision precision() const override { return ProductPrecision::float32; }
  [[nodiscard]] Math* side() override { return nullptr; }
  void fork() override {}
  void join() override {}

  using Math::copy;
  void copy(std::span<const std::byte> from, std::span<std::byte> to) override;
  void zero(std::span<float> values) override;
  void reserve(std::size_t /*operand_size*/) override {}
  void multiply(const Product& product, const Matrix& result) override;
  void set_rows(std::span<const float> row, std::span<float> rows) override;
  void add_to_rows(std::span<const float> row, std::span<float> rows) override;
  void sum_rows(std::span<const float> rows, std::span<float> sum) override;
  void gelu(std::span<float> values, std::span<float> output) override;
  void multiply_elements(std::span<const float> factors, std::span<float> values) override;
  void normalise(std::span<const float> rows, const NormalisedRows& result) override;
  void scale_rows(std::span<const float> rows, const NormScale& scale,
                  std::span<float> output) override;
  void norm_backward_input(const NormBackwardInput& backward,
                           std::span<float> input_gradient) override;
  void norm_backward_weight(const NormBackwardWeight& backward,
                            const NormScaleGradient& gradient) override;
  void causal_softmax(std::span<float> scores, std::size_t length) override;
  void causal_softmax_backward(std::span<const float> probabilities, std::span<float> gradients,
                               std::size_t length) override;
  void embed(std::span<const std::uint8_t> tokens, const EmbeddingTables& tables,
             std::span<float> rows) override;
  void embed_backward(std::span<const std::uint8_t> tokens, std::span<const float> rows_gradient,
                      const EmbeddingGradients& gradients) override;
  void cross_entropy(std::span<const std::uint8_t> targets, double weight, std::span<float> logits,
                     const LossPlace& loss) override;
  void squared_error(std::span<const float> targets, double weight, std::span<float> predictions,
                     const LossPlace& loss) override;
  void adamw(const AdamWStep& step, const AdamWTensor& tensor) override;

 private:
  Device& device_;
};

}  // namespace dualpipe
