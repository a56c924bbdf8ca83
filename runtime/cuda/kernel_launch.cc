#include "runtime/cuda/kernel_launch.h"

#include <algorithm>
#include <cstddef>

#include <driver_types.h>
#include <vector_types.h>

#include "runtime/cuda/kernel_shapes.h"

namespace dualpipe {
namespace {

// The threads of so many blocks fill any GPU, and then go round.
constexpr std::size_t blocks_max = 1024;

unsigned blocks_for(std::size_t count, std::size_t threads) {
  return static_cast<unsigned>(std::min(blocks_max, (count + threads - 1) / threads));
}

}  // namespace

KernelLaunch launch_of_elements(cudaStream_t stream, std::size_t count) {
  return {.stream = stream,
          .grid = dim3(blocks_for(count, element_threads)),
          .threads = element_threads};
}

KernelLaunch launch_of_matrix(cudaStream_t stream, std::size_t rows, std::size_t columns) {
  const unsigned wide = blocks_for(columns, element_threads);
  return {.stream = stream,
          .grid = dim3(wide, static_cast<unsigned>(
                                 std::min(rows, std::max<std::size_t>(1, 4 * blocks_max / wide)))),
          .threads = element_threads};
}

}  // namespace dualpipe
