// The GPU's arithmetic: cuBLAS for products, our own kernels for the rest.

#pragma once

#include <memory>

#include "runtime/cuda/cuda_device.h"
#include "runtime/models/math.h"

namespace dualpipe {

// It asks the device's stream, and its side a second one. The device must outlive it. TF32 is not
// used.
[[nodiscard]] std::unique_ptr<Math> make_cuda_math(
    CudaDevice& device, ProductPrecision precision = ProductPrecision::float32);

}  // namespace dualpipe
