// The kernels of the CUDA backend. One source compiles them for the GPU (kernels.cu); tests compile
// them for the host, where a block's threads take turns. So they keep to what both have: block and
// thread numbers, __syncthreads(), __shared__ arrays of fixed size and plain mathematics; no
// atomics, which would make the order of a sum a matter of chance, and no warp intrinsics. Their
// names are C's, for a launch to be told by its name.

#pragma once

// sum[i] += addend[i], for any number of threads.
extern "C" __global__ void dualpipe_add(const float* addend, float* sum, unsigned long long count) {
  const unsigned long long threads = static_cast<unsigned long long>(gridDim.x) * blockDim.x;
  unsigned long long i = static_cast<unsigned long long>(blockIdx.x) * blockDim.x + threadIdx.x;
  for (; i < count; i += threads) {
    sum[i] += addend[i];
  }
}
