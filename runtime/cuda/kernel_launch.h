// Launches kernels of kernels.h. Inner part of the CUDA backend.

#pragma once

#include <array>
#include <cstddef>
#include <type_traits>

#include <cuda_runtime_api.h>
#include <driver_types.h>
#include <vector_types.h>

#include "runtime/cuda/cuda_error.h"

namespace dualpipe {

// Where and how wide.
struct KernelLaunch {
  cudaStream_t stream = nullptr;
  dim3 grid;
  unsigned threads = 0;
};

// For kernels that go on to further elements, or columns, or rows, by the width of the grid.
[[nodiscard]] KernelLaunch launch_of_elements(cudaStream_t stream, std::size_t count);
[[nodiscard]] KernelLaunch launch_of_matrix(cudaStream_t stream, std::size_t rows,
                                            std::size_t columns);

// Requires: a kernel of kernels.h, and a launch that fits it.
template <typename... Parameters>
void launch(const KernelLaunch& launch, void (*kernel)(Parameters...),
            std::type_identity_t<Parameters>... arguments) {
  // Addresses of the arguments, which a launch copies.
  std::array<void*, sizeof...(Parameters)> addresses{
      const_cast<void*>(static_cast<const void*>(&arguments))...};
  require(cudaLaunchKernel(reinterpret_cast<const void*>(kernel), launch.grid, dim3(launch.threads),
                           addresses.data(), 0, launch.stream),
          "launching a kernel");
}

}  // namespace dualpipe
