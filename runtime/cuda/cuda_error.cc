#include "runtime/cuda/cuda_error.h"

#include <string>
#include <string_view>

#include <cuda_runtime_api.h>
#include <driver_types.h>
#include <fmt/core.h>

#include "costs/error.h"

namespace dualpipe {

std::string describe(cudaError_t result, std::string_view doing) {
  return fmt::format("{}: {} ({})", doing, cudaGetErrorString(result), cudaGetErrorName(result));
}

void require(cudaError_t result, std::string_view doing) {
  if (result != cudaSuccess) {
    throw Error(ExitCode::callback, "GPU: " + describe(result, doing));
  }
}

}  // namespace dualpipe
