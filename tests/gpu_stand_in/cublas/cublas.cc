// The part of cuBLAS that the project uses: products of matrices, worked out by the host's BLAS in
// the turn of the handle's stream. Numbers are float32, or bfloat16 operands; sums are in float32.
// Scaling factors are on the host. The names, parameters and rules are those of NVIDIA's
// documentation.

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <cblas.h>
#include <cublas_v2.h>
#include <cuda_runtime_api.h>

#include "tests/gpu_stand_in/cudart/enqueue.h"

struct cublasContext {
  cudaStream_t stream = nullptr;
};

namespace {

// A batch of column-major matrices.
struct Batch {
  const void* memory = nullptr;
  cudaDataType type = CUDA_R_32F;
  int leading = 0;  // elements from one column to the next
  long long stride = 0;
  cublasOperation_t transposed = CUBLAS_OP_N;
};

// product[i] = alpha * first[i] * second[i] + beta * product[i], of rows x inner and inner x
// columns.
struct Products {
  int rows = 0;
  int columns = 0;
  int inner = 0;
  int count = 1;
  float alpha = 1.0F;
  float beta = 0.0F;
  Batch first;
  Batch second;
  Batch product;
};

std::size_t element_bytes(cudaDataType type) {
  return type == CUDA_R_16BF ? sizeof(std::uint16_t) : sizeof(float);
}

// Elements from the first to behind the last one that is used.
std::size_t extent(const Batch& batch, int rows, int columns, int count) {
  const bool turned = batch.transposed != CUBLAS_OP_N;
  const auto stored_rows = static_cast<std::size_t>(turned ? columns : rows);
  const auto stored_columns = static_cast<std::size_t>(turned ? rows : columns);
  return static_cast<std::size_t>(batch.stride) * static_cast<std::size_t>(count - 1) +
         static_cast<std::size_t>(batch.leading) * (stored_columns - 1) + stored_rows;
}

bool is_reached(cudaStream_t stream, const Batch& batch, std::size_t elements) {
  return dualpipe_stand_in_reaches(stream, batch.memory, elements * element_bytes(batch.type));
}

// The elements as float32: bfloat16 is its upper half.
const float* as_floats(const Batch& batch, std::size_t elements, std::vector<float>& kept) {
  if (batch.type == CUDA_R_32F) {
    return static_cast<const float*>(batch.memory);
  }
  const auto* halves = static_cast<const std::uint16_t*>(batch.memory);
  kept.resize(elements);
  for (std::size_t i = 0; i < elements; ++i) {
    kept[i] = std::bit_cast<float>(std::uint32_t{halves[i]} << 16U);
  }
  return kept.data();
}

CBLAS_TRANSPOSE transposition(const Batch& batch) {
  return batch.transposed == CUBLAS_OP_N ? CblasNoTrans : CblasTrans;
}

void multiply(const Products& products) {
  const auto [rows, columns, inner, count, alpha, beta, a, b, c] = products;
  std::vector<float> first_kept;
  std::vector<float> second_kept;
  const float* first = as_floats(a, extent(a, rows, inner, count), first_kept);
  const float* second = as_floats(b, extent(b, inner, columns, count), second_kept);
  auto* product = static_cast<float*>(const_cast<void*>(c.memory));
  for (long long i = 0; i < count; ++i) {
    cblas_sgemm(CblasColMajor, transposition(a), transposition(b), rows, columns, inner, alpha,
                first + i * a.stride, a.leading, second + i * b.stride, b.leading, beta,
                product + i * c.stride, c.leading);
  }
}

cublasStatus_t launch(cublasHandle_t handle, const Products& products) {
  const auto [rows, columns, inner, count, alpha, beta, a, b, c] = products;
  if (handle == nullptr) {
    return CUBLAS_STATUS_NOT_INITIALIZED;
  }
  if (rows < 0 || columns < 0 || inner < 0 || count < 0) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  const auto known = [](cudaDataType type) { return type == CUDA_R_32F || type == CUDA_R_16BF; };
  if (!known(a.type) || a.type != b.type || c.type != CUDA_R_32F) {
    return CUBLAS_STATUS_NOT_SUPPORTED;
  }
  if (rows == 0 || columns == 0 || count == 0) {
    return CUBLAS_STATUS_SUCCESS;
  }
  const bool reached =
      inner == 0 || (is_reached(handle->stream, a, extent(a, rows, inner, count)) &&
                     is_reached(handle->stream, b, extent(b, inner, columns, count)));
  if (!reached || !is_reached(handle->stream, c, extent(c, rows, columns, count))) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  const cudaError_t error =
      dualpipe_stand_in_enqueue(handle->stream, [products] { multiply(products); });
  return error == cudaSuccess ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}

}  // namespace

extern "C" {

cublasStatus_t cublasCreate_v2(cublasHandle_t* handle) {
  // A thread of a stream works alone, so that the same product has the same bits everywhere.
  openblas_set_num_threads(1);
  int device = 0;
  if (cudaGetDevice(&device) != cudaSuccess) {
    return CUBLAS_STATUS_NOT_INITIALIZED;
  }
  *handle = new cublasContext;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasDestroy_v2(cublasHandle_t handle) {
  delete handle;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetStream_v2(cublasHandle_t handle, cudaStream_t stream) {
  handle->stream = stream;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetWorkspace_v2(cublasHandle_t handle, void* workspace, size_t bytes) {
  const bool reached = bytes == 0 || dualpipe_stand_in_reaches(handle->stream, workspace, bytes);
  return reached ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasSetMathMode(cublasHandle_t handle, cublasMath_t /*mode*/) {
  return handle == nullptr ? CUBLAS_STATUS_NOT_INITIALIZED : CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasGetVersion_v2(cublasHandle_t /*handle*/, int* version) {
  *version = CUBLAS_VERSION;
  return CUBLAS_STATUS_SUCCESS;
}

const char* cublasGetStatusString(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_SUCCESS:
      return "success";
    case CUBLAS_STATUS_NOT_INITIALIZED:
      return "the library was not initialized";
    case CUBLAS_STATUS_INVALID_VALUE:
      return "an unsupported value or parameter was passed to the function";
    case CUBLAS_STATUS_EXECUTION_FAILED:
      return "the GPU program failed to execute";
    case CUBLAS_STATUS_NOT_SUPPORTED:
      return "the functionality requested is not supported";
    default:
      return "unknown status";
  }
}

// NOLINTBEGIN(readability-function-size): BLAS has as many parameters.
cublasStatus_t cublasSgemmStridedBatched(cublasHandle_t handle, cublasOperation_t transposed_a,
                                         cublasOperation_t transposed_b, int m, int n, int k,
                                         const float* alpha, const float* a, int lda,
                                         long long stride_a, const float* b, int ldb,
                                         long long stride_b, const float* beta, float* c, int ldc,
                                         long long stride_c, int count) {
  return cublasGemmStridedBatchedEx(handle, transposed_a, transposed_b, m, n, k, alpha, a,
                                    CUDA_R_32F, lda, stride_a, b, CUDA_R_32F, ldb, stride_b, beta,
                                    c, CUDA_R_32F, ldc, stride_c, count, CUBLAS_COMPUTE_32F,
                                    CUBLAS_GEMM_DEFAULT);
}

cublasStatus_t cublasSgemm_v2(cublasHandle_t handle, cublasOperation_t transposed_a,
                              cublasOperation_t transposed_b, int m, int n, int k,
                              const float* alpha, const float* a, int lda, const float* b, int ldb,
                              const float* beta, float* c, int ldc) {
  return cublasSgemmStridedBatched(handle, transposed_a, transposed_b, m, n, k, alpha, a, lda, 0, b,
                                   ldb, 0, beta, c, ldc, 0, 1);
}

cublasStatus_t cublasGemmEx(cublasHandle_t handle, cublasOperation_t transposed_a,
                            cublasOperation_t transposed_b, int m, int n, int k, const void* alpha,
                            const void* a, cudaDataType type_a, int lda, const void* b,
                            cudaDataType type_b, int ldb, const void* beta, void* c,
                            cudaDataType type_c, int ldc, cublasComputeType_t compute,
                            cublasGemmAlgo_t algorithm) {
  return cublasGemmStridedBatchedEx(handle, transposed_a, transposed_b, m, n, k, alpha, a, type_a,
                                    lda, 0, b, type_b, ldb, 0, beta, c, type_c, ldc, 0, 1, compute,
                                    algorithm);
}

cublasStatus_t cublasGemmStridedBatchedEx(
    cublasHandle_t handle, cublasOperation_t transposed_a, cublasOperation_t transposed_b, int m,
    int n, int k, const void* alpha, const void* a, cudaDataType type_a, int lda,
    long long stride_a, const void* b, cudaDataType type_b, int ldb, long long stride_b,
    const void* beta, void* c, cudaDataType type_c, int ldc, long long stride_c, int count,
    cublasComputeType_t compute, cublasGemmAlgo_t /*algorithm*/) {
  if (compute != CUBLAS_COMPUTE_32F && compute != CUBLAS_COMPUTE_32F_PEDANTIC) {
    return CUBLAS_STATUS_NOT_SUPPORTED;
  }
  return launch(handle,
                {.rows = m,
                 .columns = n,
                 .inner = k,
                 .count = count,
                 .alpha = *static_cast<const float*>(alpha),
                 .beta = *static_cast<const float*>(beta),
                 .first = {.memory = a,
                           .type = type_a,
                           .leading = lda,
                           .stride = stride_a,
                           .transposed = transposed_a},
                 .second = {.memory = b,
                            .type = type_b,
                            .leading = ldb,
                            .stride = stride_b,
                            .transposed = transposed_b},
                 .product = {.memory = c, .type = type_c, .leading = ldc, .stride = stride_c}});
}
// NOLINTEND(readability-function-size)
}
