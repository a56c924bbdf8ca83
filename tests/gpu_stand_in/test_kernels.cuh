// Kernels with which the stand-in itself is tested, in the form that runtime/cuda/kernels.cuh has.

#pragma once

// to[i] = from[i] + value, one block after another.
extern "C" __global__ void dualpipe_test_add_value(const float* from, float* to, float value,
                                                   unsigned long long count) {
  const unsigned long long i =
      static_cast<unsigned long long>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < count) {
    to[i] = from[i] + value;
  }
}

// Turns each block's part of the array around, through shared memory. Requires: at most 256 threads
// to a block, and no others.
extern "C" __global__ void dualpipe_test_reverse_blocks(float* values) {
  __shared__ float kept[256];
  float* const part = values + static_cast<unsigned long long>(blockIdx.x) * blockDim.x;
  kept[threadIdx.x] = part[threadIdx.x];
  __syncthreads();
  part[threadIdx.x] = kept[blockDim.x - 1 - threadIdx.x];
}

// Wrong: some threads of the block wait for the others, which have gone.
extern "C" __global__ void dualpipe_test_leave_some_waiting() {
  if (threadIdx.x % 2 == 0) {
    __syncthreads();
  }
}
