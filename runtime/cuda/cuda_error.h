// What CUDA's answers mean to us. Inner part of the CUDA backend.

#pragma once

#include <string>
#include <string_view>

#include <driver_types.h>

namespace dualpipe {

// "launching a kernel: an illegal memory access was encountered (cudaErrorIllegalAddress)".
[[nodiscard]] std::string describe(cudaError_t result, std::string_view doing);

// Throws Error (callback) with that, unless the result is success: work asked for has failed, and
// CUDA does nothing more for this process.
void require(cudaError_t result, std::string_view doing);

}  // namespace dualpipe
