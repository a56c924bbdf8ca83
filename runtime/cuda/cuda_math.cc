#include "runtime/cuda/cuda_math.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include <cuda_runtime_api.h>
#include <driver_types.h>
#include <vector_types.h>

#include "costs/check.h"
#include "runtime/cuda/cuda_device.h"
#include "runtime/cuda/cuda_error.h"
#include "runtime/cuda/cuda_products.h"
#include "runtime/cuda/kernel_launch.h"
#include "runtime/cuda/kernel_shapes.h"
#include "runtime/cuda/kernels.h"
#include "runtime/device.h"
#include "runtime/models/math.h"

namespace dualpipe {
namespace {

constexpr float norm_epsilon = 1e-5F;  // under the root, as math.h says

unsigned number(std::size_t value) {
  CHECK(value <= 0xffffffffU);
  return static_cast<unsigned>(value);
}

// An order between two streams of one GPU.
class StreamOrder {
 public:
  StreamOrder() {
    require(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "making an event");
  }
  ~StreamOrder() { cudaEventDestroy(event_); }
  StreamOrder(const StreamOrder&) = delete;
  StreamOrder& operator=(const StreamOrder&) = delete;

  // What `later` is asked for from now on begins behind what `earlier` was asked for so far.
  void put(cudaStream_t later, cudaStream_t earlier) const {
    require(cudaEventRecord(event_, earlier), "recording an event");
    require(cudaStreamWaitEvent(later, event_, 0), "waiting for an event");
  }

 private:
  cudaEvent_t event_ = nullptr;
};

class CudaMath final : public Math {
 public:
  // Without a side: the stream is a side itself.
  CudaMath(CudaDevice& device, cudaStream_t stream, ProductPrecision precision)
      : device_(device), stream_(stream), products_(device, stream, precision) {}

  CudaMath(CudaDevice& device, ProductPrecision precision)
      : CudaMath(device, device.stream(), precision) {
    order_ = std::make_unique<StreamOrder>();
    side_ = std::make_unique<CudaMath>(device, device.side_stream(), precision);
  }

  [[nodiscard]] Device& device() override { return device_; }
  [[nodiscard]] ProductPrecision precision() const override { return products_.precision(); }
  [[nodiscard]] Math* side() override { return side_.get(); }
  void fork() override {
    CHECK(side_);
    device_.note_asked(2);
    order_->put(side_->stream_, stream_);
  }
  void join() override {
    CHECK(side_);
    device_.note_asked(2);
    order_->put(stream_, side_->stream_);
  }

  using Math::copy;
  void copy(std::span<const std::byte> from, std::span<std::byte> to) override {
    CHECK(from.size() == to.size());
    if (!from.empty()) {
      device_.note_asked(1);
      require(cudaMemcpyAsync(to.data(), from.data(), from.size(), cudaMemcpyDefault, stream_),
              "copying");
    }
  }
  void zero(std::span<float> values) override {
    if (!values.empty()) {
      device_.note_asked(1);
      require(cudaMemsetAsync(values.data(), 0, values.size_bytes(), stream_), "zeroing memory");
    }
  }

  void reserve(std::size_t operand_size) override {
    products_.reserve(operand_size);
    if (side_) {
      side_->reserve(operand_size);
    }
  }
  void multiply(const Product& product, const Matrix& result) override {
    products_.multiply(product, result);
  }

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
  // Each for one launch.
  [[nodiscard]] KernelLaunch elements(std::size_t count) {
    device_.note_asked(1);
    return launch_of_elements(stream_, count);
  }
  [[nodiscard]] KernelLaunch matrix(std::size_t rows, std::size_t columns) {
    device_.note_asked(1);
    return launch_of_matrix(stream_, rows, columns);
  }
  [[nodiscard]] KernelLaunch block_per_row(std::size_t rows) {
    device_.note_asked(1);
    return {.stream = stream_, .grid = dim3(number(rows)), .threads = row_threads};
  }
  [[nodiscard]] KernelLaunch block_per_columns(std::size_t columns) {
    device_.note_asked(1);
    const unsigned blocks = (number(columns) + block_columns - 1) / block_columns;
    return {.stream = stream_, .grid = dim3(blocks), .threads = column_threads};
  }
  void sum_losses(const LossPlace& loss, double weight) {
    launch(block_per_row(1), dualpipe_sum_losses, static_cast<const float*>(loss.rows.data()),
           loss.total, number(loss.rows.size()), weight);
  }

  CudaDevice& device_;
  cudaStream_t stream_;
  CudaProducts products_;
  std::unique_ptr<StreamOrder> order_;
  std::unique_ptr<CudaMath> side_;
};

void CudaMath::set_rows(std::span<const float> row, std::span<float> rows) {
  CHECK(rows.size() % row.size() == 0);
  const std::size_t count = rows.size() / row.size();
  launch(matrix(count, row.size()), dualpipe_set_rows, row.data(), rows.data(), number(count),
         number(row.size()));
}

void CudaMath::add_to_rows(std::span<const float> row, std::span<float> rows) {
  CHECK(rows.size() % row.size() == 0);
  const std::size_t count = rows.size() / row.size();
  launch(matrix(count, row.size()), dualpipe_add_to_rows, row.data(), rows.data(), number(count),
         number(row.size()));
}

void CudaMath::sum_rows(std::span<const float> rows, std::span<float> sum) {
  CHECK(rows.size() % sum.size() == 0);
  launch(block_per_columns(sum.size()), dualpipe_sum_rows, rows.data(), sum.data(),
         number(rows.size() / sum.size()), number(sum.size()));
}

void CudaMath::gelu(std::span<float> values, std::span<float> output) {
  CHECK(values.size() == output.size());
  launch(elements(values.size()), dualpipe_gelu, values.data(), output.data(), values.size());
}

void CudaMath::multiply_elements(std::span<const float> factors, std::span<float> values) {
  CHECK(factors.size() == values.size());
  launch(elements(values.size()), dualpipe_multiply_elements, factors.data(), values.data(),
         values.size());
}

void CudaMath::normalise(std::span<const float> rows, const NormalisedRows& result) {
  const std::size_t count = result.deviation_inverse.size();
  CHECK(rows.size() == result.values.size() && rows.size() % count == 0);
  launch(block_per_row(count), dualpipe_normalise, rows.data(), result.values.data(),
         result.deviation_inverse.data(), number(rows.size() / count), norm_epsilon);
}

void CudaMath::scale_rows(std::span<const float> rows, const NormScale& scale,
                          std::span<float> output) {
  const std::size_t width = scale.gain.size();
  CHECK(scale.bias.size() == width && rows.size() == output.size() && rows.size() % width == 0);
  const std::size_t count = rows.size() / width;
  launch(matrix(count, width), dualpipe_scale_rows, rows.data(), scale.gain.data(),
         scale.bias.data(), output.data(), number(count), number(width));
}

void CudaMath::norm_backward_input(const NormBackwardInput& backward,
                                   std::span<float> input_gradient) {
  const std::size_t width = backward.gain.size();
  const std::size_t count = backward.deviation_inverse.size();
  CHECK(input_gradient.size() == count * width);
  launch(block_per_row(count), dualpipe_norm_backward_input, backward.normalised.data(),
         backward.deviation_inverse.data(), backward.gain.data(), backward.output_gradient.data(),
         input_gradient.data(), number(width));
}

void CudaMath::norm_backward_weight(const NormBackwardWeight& backward,
                                    const NormScaleGradient& gradient) {
  const std::size_t width = gradient.gain.size();
  CHECK(backward.normalised.size() == backward.output_gradient.size());
  CHECK(gradient.bias.size() == width && backward.normalised.size() % width == 0);
  launch(block_per_columns(width), dualpipe_norm_backward_weight, backward.normalised.data(),
         backward.output_gradient.data(), gradient.gain.data(), gradient.bias.data(),
         number(backward.normalised.size() / width), number(width));
}

void CudaMath::causal_softmax(std::span<float> scores, std::size_t length) {
  CHECK(scores.size() % (length * length) == 0);
  launch(block_per_row(scores.size() / length), dualpipe_causal_softmax, scores.data(),
         number(length));
}

void CudaMath::causal_softmax_backward(std::span<const float> probabilities,
                                       std::span<float> gradients, std::size_t length) {
  CHECK(probabilities.size() == gradients.size() && gradients.size() % (length * length) == 0);
  launch(block_per_row(gradients.size() / length), dualpipe_causal_softmax_backward,
         probabilities.data(), gradients.data(), number(length));
}

void CudaMath::embed(std::span<const std::uint8_t> tokens, const EmbeddingTables& tables,
                     std::span<float> rows) {
  CHECK(rows.size() == tokens.size() * tables.width);
  launch(matrix(tokens.size(), tables.width), dualpipe_embed, tokens.data(), tables.token.data(),
         tables.position.data(), rows.data(), number(tokens.size()),
         number(tables.position.size() / tables.width), number(tables.width));
}

void CudaMath::embed_backward(std::span<const std::uint8_t> tokens,
                              std::span<const float> rows_gradient,
                              const EmbeddingGradients& gradients) {
  const std::size_t width = gradients.width;
  CHECK(rows_gradient.size() == tokens.size() * width);
  const std::size_t positions = gradients.position.size() / width;
  KernelLaunch by_token = matrix(1, width);
  by_token.grid.y = number(gradients.token.size() / width);
  launch(by_token, dualpipe_embed_tokens_backward, tokens.data(), rows_gradient.data(),
         gradients.token.data(), number(tokens.size()), number(width));
  launch(matrix(positions, width), dualpipe_embed_positions_backward, rows_gradient.data(),
         gradients.position.data(), number(tokens.size()), number(positions), number(width));
}

void CudaMath::cross_entropy(std::span<const std::uint8_t> targets, double weight,
                             std::span<float> logits, const LossPlace& loss) {
  CHECK(loss.rows.size() == targets.size() && logits.size() % targets.size() == 0);
  launch(block_per_row(targets.size()), dualpipe_cross_entropy, targets.data(), logits.data(),
         loss.rows.data(), number(logits.size() / targets.size()), weight);
  sum_losses(loss, weight);
}

void CudaMath::squared_error(std::span<const float> targets, double weight,
                             std::span<float> predictions, const LossPlace& loss) {
  CHECK(targets.size() == predictions.size() && targets.size() % loss.rows.size() == 0);
  launch(block_per_row(loss.rows.size()), dualpipe_squared_error, targets.data(),
         predictions.data(), loss.rows.data(), number(targets.size() / loss.rows.size()),
         static_cast<float>(2.0 * weight));
  sum_losses(loss, weight);
}

void CudaMath::adamw(const AdamWStep& step, const AdamWTensor& tensor) {
  const std::size_t size = tensor.values.size();
  CHECK(tensor.gradient.size() == size && tensor.first_moment.size() == size &&
        tensor.second_moment.size() == size);
  launch(elements(size), dualpipe_adamw, step, tensor.gradient.data(), tensor.first_moment.data(),
         tensor.second_moment.data(), tensor.values.data(), size);
}

}  // namespace

std::unique_ptr<Math> make_cuda_math(CudaDevice& device, ProductPrecision precision) {
  device.make_current();
  return std::make_unique<CudaMath>(device, precision);
}

}  // namespace dualpipe
