// Products of matrices against the plain triple loop.

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <cublas_v2.h>
#include <cuda_runtime_api.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/gpu_stand_in/rank.h"

namespace stand_in {
namespace {

using testing::ElementsAreArray;

constexpr std::size_t rows = 3;
constexpr std::size_t columns = 4;
constexpr std::size_t inner = 5;
constexpr std::size_t batches = 2;

struct Case {
  bool first_transposed = false;
  bool second_transposed = false;
};

// Small whole numbers: their products and sums are exact in float32 and bfloat16, in any order.
std::vector<float> whole_numbers(std::size_t count, unsigned step) {
  std::vector<float> values(count);
  for (std::size_t i = 0; i < count; ++i) {
    values[i] = static_cast<float>(i * step % 13) - 6.0F;
  }
  return values;
}

// 2 * first * second + 3 * product, column-major.
std::vector<float> expected(const Case& of, const std::vector<float>& first,
                            const std::vector<float>& second, std::vector<float> product) {
  for (std::size_t batch = 0; batch < batches; ++batch) {
    for (std::size_t row = 0; row < rows; ++row) {
      for (std::size_t column = 0; column < columns; ++column) {
        float sum = 0.0F;
        for (std::size_t i = 0; i < inner; ++i) {
          const std::size_t in_first = of.first_transposed ? row * inner + i : i * rows + row;
          const std::size_t in_second =
              of.second_transposed ? i * columns + column : column * inner + i;
          sum +=
              first[batch * rows * inner + in_first] * second[batch * inner * columns + in_second];
        }
        float& result = product[batch * rows * columns + column * rows + row];
        result = 2.0F * sum + 3.0F * result;
      }
    }
  }
  return product;
}

template <typename Number>
Number* on_device(const std::vector<Number>& values) {
  void* memory = nullptr;
  check(cudaMalloc(&memory, values.size() * sizeof(Number)));
  check(cudaMemcpy(memory, values.data(), values.size() * sizeof(Number), cudaMemcpyHostToDevice));
  return static_cast<Number*>(memory);
}

std::vector<std::uint16_t> as_bfloat16(const std::vector<float>& values) {
  std::vector<std::uint16_t> halves;
  for (const float value : values) {
    halves.push_back(static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(value) >> 16U));
  }
  return halves;
}

class CublasStandIn : public testing::Test {
 protected:
  CublasStandIn() {
    check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
    EXPECT_EQ(cublasCreate(&handle_), CUBLAS_STATUS_SUCCESS);
    EXPECT_EQ(cublasSetStream(handle_, stream_), CUBLAS_STATUS_SUCCESS);
  }
  ~CublasStandIn() override { EXPECT_EQ(cublasDestroy(handle_), CUBLAS_STATUS_SUCCESS); }

  [[nodiscard]] std::vector<float> values(const float* memory, std::size_t count) const {
    std::vector<float> on_host(count);
    check(cudaStreamSynchronize(stream_));
    check(cudaMemcpy(on_host.data(), memory, count * sizeof(float), cudaMemcpyDeviceToHost));
    return on_host;
  }

  template <typename Number>
  std::vector<float> product(const Case& of, const std::vector<Number>& first,
                             const std::vector<Number>& second, const std::vector<float>& before) {
    constexpr cudaDataType type = sizeof(Number) == 4 ? CUDA_R_32F : CUDA_R_16BF;
    const float two = 2.0F;
    const float three = 3.0F;
    float* const result = on_device(before);
    const auto as_int = [](std::size_t size) { return static_cast<int>(size); };
    const auto stride = [](std::size_t size) { return static_cast<long long>(size); };
    EXPECT_EQ(cublasGemmStridedBatchedEx(
                  handle_, of.first_transposed ? CUBLAS_OP_T : CUBLAS_OP_N,
                  of.second_transposed ? CUBLAS_OP_T : CUBLAS_OP_N, as_int(rows), as_int(columns),
                  as_int(inner), &two, on_device(first), type,
                  as_int(of.first_transposed ? inner : rows), stride(rows * inner),
                  on_device(second), type, as_int(of.second_transposed ? columns : inner),
                  stride(inner * columns), &three, result, CUDA_R_32F, as_int(rows),
                  stride(rows * columns), as_int(batches), CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
              CUBLAS_STATUS_SUCCESS);
    return values(result, before.size());
  }

  cudaStream_t stream_ = nullptr;
  cublasHandle_t handle_ = nullptr;
};

constexpr Case cases[] = {
    {}, {.first_transposed = true}, {.second_transposed = true}, {true, true}};

TEST_F(CublasStandIn, ProductsAreThoseOfTheTripleLoop) {
  const std::vector<float> first = whole_numbers(batches * rows * inner, 5);
  const std::vector<float> second = whole_numbers(batches * inner * columns, 7);
  const std::vector<float> before = whole_numbers(batches * rows * columns, 3);
  for (const Case& of : cases) {
    const std::vector<float> truth = expected(of, first, second, before);
    EXPECT_THAT(product(of, first, second, before), ElementsAreArray(truth));
    EXPECT_THAT(product(of, as_bfloat16(first), as_bfloat16(second), before),
                ElementsAreArray(truth));
  }
}

TEST_F(CublasStandIn, MemoryThatTheDeviceCannotReachIsRefused) {
  const float one = 1.0F;
  const std::vector<float> on_host(1);
  float* const memory = on_device(on_host);
  EXPECT_EQ(cublasSgemm(handle_, CUBLAS_OP_N, CUBLAS_OP_N, 1, 1, 1, &one, on_host.data(), 1, memory,
                        1, &one, memory, 1),
            CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(cublasSgemm(handle_, CUBLAS_OP_N, CUBLAS_OP_N, 1, 1, 2, &one, memory, 1, memory, 2,
                        &one, memory, 1),
            CUBLAS_STATUS_INVALID_VALUE);
}

}  // namespace
}  // namespace stand_in
