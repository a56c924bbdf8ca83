// The GPU's arithmetic: cuBLAS for products, our own kernels for the rest.

#pragma once

#include <memory>

#include "runtime/cuda/cuda_device.h"
#include "runtime/models/math.h"

namespace dualpipe {

// What a product's operands are rounded to. Parameters, sums and everything that is not a product
// are float32 in any case, and TF32 is not used.
enum class ProductPrecision { float32, bfloat16 };

// It asks the device's stream, and its side a second one. The device must outlive it.
[[nodiscard]] std::unique_ptr<Math> make_cuda_math(
    CudaDevice& device, ProductPrecision precision = ProductPrecision::float32);

}  // namespace dualpipe
