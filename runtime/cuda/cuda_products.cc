#include "runtime/cuda/cuda_products.h"

#include <cstddef>
#include <cstdint>
#include <string_view>

#include <cublas_api.h>
#include <cublas_v2.h>
#include <fmt/core.h>
#include <library_types.h>

#include "costs/check.h"
#include "costs/error.h"
#include "runtime/cuda/cuda_device.h"
#include "runtime/cuda/kernel_launch.h"
#include "runtime/cuda/kernel_shapes.h"
#include "runtime/cuda/kernels.h"
#include "runtime/device.h"
#include "runtime/models/math.h"

namespace dualpipe {
namespace {

// As much as cuBLAS's manual advises for its largest GPUs. With memory of its own, a handle chooses
// the same way to multiply whatever else is running, and so gives the same bits.
constexpr std::size_t workspace_bytes = std::size_t{32} * 1024 * 1024;

void require_blas(cublasStatus_t status, std::string_view doing) {
  if (status != CUBLAS_STATUS_SUCCESS) {
    throw Error(ExitCode::callback, fmt::format("{}: {}", doing, cublasGetStatusString(status)));
  }
}

cublasOperation_t operation(const ConstMatrix& matrix) {
  return matrix.transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
}

}  // namespace

CudaProducts::CudaProducts(CudaDevice& device, CUstream_st* stream, ProductPrecision precision)
    : device_(device), stream_(stream), precision_(precision), workspace_(device, workspace_bytes) {
  device.make_current();
  require_blas(cublasCreate(&handle_), "starting cuBLAS");
  require_blas(cublasSetStream(handle_, stream), "giving cuBLAS its stream");
  require_blas(cublasSetWorkspace(handle_, workspace_.bytes().data(), workspace_bytes),
               "giving cuBLAS its memory");
  // Sums of bfloat16 products stay float32 where a product is divided among several sums, too.
  const int mode = CUBLAS_DEFAULT_MATH | CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION;
  require_blas(cublasSetMathMode(handle_, static_cast<cublasMath_t>(mode)),
               "choosing cuBLAS's precision");
}

CudaProducts::~CudaProducts() {
  cublasDestroy(handle_);
}

void CudaProducts::reserve(std::size_t operand_size) {
  const std::size_t bytes = operand_size * sizeof(std::uint16_t);
  if (precision_ == ProductPrecision::bfloat16 && left_.bytes().size() < bytes) {
    left_ = DeviceMemory(device_, bytes);
    right_ = DeviceMemory(device_, bytes);
  }
}

CudaProducts::Operand CudaProducts::operand(const ConstMatrix& matrix, std::size_t count,
                                            const DeviceMemory& place) const {
  if (precision_ == ProductPrecision::float32) {
    return {.data = matrix.data, .stride = matrix.stride, .step = matrix.step};
  }
  const std::size_t size = matrix.rows * matrix.columns;
  CHECK(count * size * sizeof(std::uint16_t) <= place.bytes().size());
  auto* const rounded = reinterpret_cast<std::uint16_t*>(place.bytes().data());
  launch(launch_of_matrix(stream_, count * matrix.rows, matrix.columns), dualpipe_round_to_bfloat16,
         matrix.data, rounded,
         MatrixPlaces{.rows = static_cast<unsigned>(matrix.rows),
                      .columns = static_cast<unsigned>(matrix.columns),
                      .count = static_cast<unsigned>(count),
                      .stride = matrix.stride,
                      .step = matrix.step});
  return {.data = rounded, .stride = matrix.columns, .step = size};
}

// cuBLAS counts along columns: to it, our row-major matrices are their transposes, and
// result = left * right is result' = right' * left'.
void CudaProducts::multiply(const Product& product, const Matrix& result) {
  const ConstMatrix& left = product.left;
  const ConstMatrix& right = product.right;
  const std::size_t inner = left.transposed ? left.rows : left.columns;
  CHECK((left.transposed ? left.columns : left.rows) == result.rows);
  CHECK((right.transposed ? right.rows : right.columns) == result.columns);
  CHECK((right.transposed ? right.columns : right.rows) == inner);
  // A product is one kernel, or two where its sums are divided; each rounding is one.
  device_.note_asked(precision_ == ProductPrecision::float32 ? 2 : 4);
  const cudaDataType type = precision_ == ProductPrecision::float32 ? CUDA_R_32F : CUDA_R_16BF;
  const Operand first = operand(right, product.count, right_);
  const Operand second = operand(left, product.count, left_);
  require_blas(
      cublasGemmStridedBatchedEx(
          handle_, operation(right), operation(left), static_cast<int>(result.columns),
          static_cast<int>(result.rows), static_cast<int>(inner), &product.scale, first.data, type,
          static_cast<int>(first.stride), static_cast<std::int64_t>(first.step), second.data, type,
          static_cast<int>(second.stride), static_cast<std::int64_t>(second.step), &product.keep,
          result.data, CUDA_R_32F, static_cast<int>(result.stride),
          static_cast<std::int64_t>(result.step), static_cast<int>(product.count),
          CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
      "multiplying matrices");
}

}  // namespace dualpipe
