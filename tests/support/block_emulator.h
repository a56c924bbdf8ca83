// Runs CUDA kernels on the host: include this, then the kernels' own source (kernels.cuh), and they
// are plain functions. The threads of a block are fibers of the calling thread that take turns at
// __syncthreads(), block after block, so a kernel's arithmetic is that of the source, and a run is
// deterministic. A thread that never comes to a barrier costs no fiber.
//
// What it does not show: other blocks at the same time, warps, memory that is not coherent, limits
// of registers, shared memory or grid, and the compiler's own choices (fused multiply-add).

#pragma once

#include <cmath>
#include <functional>

namespace dualpipe {

// As CUDA's dim3, which lives in a header that declares threadIdx in another way.
struct Extent {
  unsigned x = 1;
  unsigned y = 1;
  unsigned z = 1;
};

struct EmulatedLaunch {
  Extent grid;
  Extent block;
  // Threads take turns from the last to the first: a kernel that misses a barrier gives other bits.
  bool backwards = false;
};

// Calls `thread` once for each thread of each block. Throws std::logic_error when some threads of a
// block wait at a barrier and others have ended: on a GPU they may wait for ever.
void run_blocks(const EmulatedLaunch& launch, const std::function<void()>& thread);

void wait_at_barrier();

}  // namespace dualpipe

// The words of CUDA that kernels use. A __shared__ array is one per host thread, and so one for all
// the fibers of the block that it runs.
// NOLINTBEGIN(bugprone-reserved-identifier,cppcoreguidelines-macro-usage,readability-identifier-naming)
extern thread_local dualpipe::Extent threadIdx;
extern thread_local dualpipe::Extent blockIdx;
extern thread_local dualpipe::Extent blockDim;
extern thread_local dualpipe::Extent gridDim;
#define __global__ inline
#define __device__ inline
#define __shared__ static thread_local
inline void __syncthreads() {
  dualpipe::wait_at_barrier();
}
// NOLINTEND(bugprone-reserved-identifier,cppcoreguidelines-macro-usage,readability-identifier-naming)
