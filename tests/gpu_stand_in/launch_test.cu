// Kernels that nvcc has compiled, launched as programs do: what it generates finds what it needs in
// the stand-in, and the stand-in runs the kernels' own source.

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include <cuda_runtime.h>

#include "tests/gpu_stand_in/test_kernels.cuh"

__global__ void kernel_without_form_for_the_host() {}

namespace {

void expect(bool condition, const char* what) {
  if (!condition) {
    std::fprintf(stderr, "expected: %s\n", what);
    std::exit(1);
  }
}

constexpr int block = 64;
constexpr int count = 3 * block;

std::vector<float> values(const float* memory, cudaStream_t stream) {
  std::vector<float> on_host(count);
  expect(cudaStreamSynchronize(stream) == cudaSuccess, "the stream comes to its end");
  expect(cudaMemcpy(on_host.data(), memory, count * sizeof(float), cudaMemcpyDeviceToHost) ==
             cudaSuccess,
         "the copy works");
  return on_host;
}

void launch(float* memory, cudaStream_t stream) {
  std::vector<float> counting(count);
  for (int i = 0; i < count; ++i) {
    counting[static_cast<std::size_t>(i)] = static_cast<float>(i);
  }
  cudaMemcpy(memory, counting.data(), count * sizeof(float), cudaMemcpyHostToDevice);
  dualpipe_test_add_value<<<3, block, 0, stream>>>(memory, memory, 1000.0F, count - 1);
  dualpipe_test_reverse_blocks<<<3, block, 0, stream>>>(memory);
  expect(cudaGetLastError() == cudaSuccess, "both launches work");
  const std::vector<float> result = values(memory, stream);
  for (int i = 0; i < count; ++i) {
    const int from = i / block * block + block - 1 - i % block;
    const float added = from < count - 1 ? 1000.0F : 0.0F;
    expect(result[static_cast<std::size_t>(i)] == static_cast<float>(from) + added,
           "blocks turned around, with the value added to all but the last number");
  }
}

void be_refused(cudaStream_t stream) {
  kernel_without_form_for_the_host<<<1, 1, 0, stream>>>();
  expect(cudaGetLastError() == cudaErrorInvalidDeviceFunction, "an unknown kernel is refused");
  dualpipe_test_reverse_blocks<<<1, 2048, 0, stream>>>(nullptr);
  expect(cudaGetLastError() == cudaErrorInvalidConfiguration, "a block has at most 1024 threads");
  cudaSetDevice(1);
  dualpipe_test_reverse_blocks<<<1, 1, 0, stream>>>(nullptr);
  expect(cudaGetLastError() == cudaErrorInvalidResourceHandle, "a stream serves its own device");
  cudaSetDevice(0);
}

// What a kernel does to memory that is not the device's ends the device, for good.
void break_the_device(float* memory, cudaStream_t stream) {
  std::vector<float> on_host(block);
  dualpipe_test_reverse_blocks<<<1, block, 0, stream>>>(on_host.data());
  expect(cudaStreamSynchronize(stream) == cudaErrorIllegalAddress, "the address is illegal");
  expect(cudaStreamQuery(stream) == cudaErrorIllegalAddress, "the error stays");
  cudaGetLastError();
  expect(cudaGetLastError() == cudaErrorIllegalAddress, "the error stays after it was asked for");
  expect(cudaMemsetAsync(memory, 0, 1, stream) == cudaErrorIllegalAddress, "nothing works again");
}

}  // namespace

// With an argument: a kernel whose threads do not meet.
int main(int argc, char**) {
  cudaStream_t stream = nullptr;
  void* memory = nullptr;
  expect(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) == cudaSuccess, "a stream");
  expect(cudaMalloc(&memory, count * sizeof(float)) == cudaSuccess, "memory");
  if (std::getenv("STAND_IN_FAILING_KERNEL") != nullptr) {
    dualpipe_test_reverse_blocks<<<3, block, 0, stream>>>(static_cast<float*>(memory));
    expect(cudaStreamSynchronize(stream) == cudaSuccess, "the first kernel works");
    dualpipe_test_reverse_blocks<<<3, block, 0, stream>>>(static_cast<float*>(memory));
    expect(cudaStreamSynchronize(stream) == cudaErrorIllegalAddress, "the second one fails");
    return 0;
  }
  if (argc > 1) {
    dualpipe_test_leave_some_waiting<<<1, block, 0, stream>>>();
    expect(cudaStreamSynchronize(stream) == cudaErrorLaunchFailure, "the kernel cannot end");
    return 0;
  }
  launch(static_cast<float*>(memory), stream);
  be_refused(stream);
  break_the_device(static_cast<float*>(memory), stream);
  return 0;
}
