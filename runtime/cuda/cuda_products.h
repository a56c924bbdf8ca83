// Products of matrices by cuBLAS in one stream. Inner part of the CUDA backend.

#pragma once

#include <cstddef>

#include "runtime/cuda/cuda_device.h"
#include "runtime/device.h"
#include "runtime/models/math.h"

struct cublasContext;  // cuBLAS's, behind cublasHandle_t

namespace dualpipe {

class CudaProducts {
 public:
  // The stream is one of the device's GPU. Throws Error (callback) when cuBLAS does not start.
  CudaProducts(CudaDevice& device, CUstream_st* stream, ProductPrecision precision);
  ~CudaProducts();
  CudaProducts(const CudaProducts&) = delete;
  CudaProducts& operator=(const CudaProducts&) = delete;

  [[nodiscard]] ProductPrecision precision() const { return precision_; }
  // As Math's.
  void reserve(std::size_t operand_size);
  void multiply(const Product& product, const Matrix& result);

 private:
  struct Operand {
    const void* data = nullptr;
    std::size_t stride = 0;
    std::size_t step = 0;
  };
  // As cuBLAS is to read it: where it is, or rounded to `place`.
  [[nodiscard]] Operand operand(const ConstMatrix& matrix, std::size_t count,
                                const DeviceMemory& place) const;

  CudaDevice& device_;
  CUstream_st* stream_;
  ProductPrecision precision_;
  cublasContext* handle_ = nullptr;
  DeviceMemory workspace_;
  // bfloat16 only: one product's operands.
  DeviceMemory left_;
  DeviceMemory right_;
};

}  // namespace dualpipe
