// How programs compiled by nvcc register their kernels and launch them: undocumented functions,
// whose forms are in the headers that nvcc includes by itself (crt/host_runtime.h).

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <cuda_runtime_api.h>

#include "tests/gpu_stand_in/cudart/allocations.h"
#include "tests/gpu_stand_in/cudart/device.h"
#include "tests/gpu_stand_in/cudart/emulated_kernels.h"
#include "tests/gpu_stand_in/cudart/process.h"
#include "tests/gpu_stand_in/cudart/settings.h"
#include "tests/gpu_stand_in/cudart/stream.h"

using stand_in::Allocation;
using stand_in::Device;
using stand_in::process;
using stand_in::Stream;

namespace {

// What <<<...>>> leaves for the launch that follows it.
struct CallConfiguration {
  dim3 grid;
  dim3 block;
  std::size_t shared_bytes = 0;
  cudaStream_t stream = nullptr;
};

thread_local std::vector<CallConfiguration> call_configurations;

const stand_in::EmulatedKernel* find_kernel(const void* function, std::string& name) {
  {
    const std::scoped_lock lock(process().kernels_mutex);
    const auto found = process().kernels.find(function);
    if (found == process().kernels.end()) {
      return nullptr;
    }
    name = found->second;
  }
  const std::span<const stand_in::EmulatedKernel> kernels = stand_in::emulated_kernels();
  const auto found = std::ranges::find(kernels, name, &stand_in::EmulatedKernel::name);
  return found == kernels.end() ? nullptr : &*found;
}

bool valid_shape(const dim3& grid, const dim3& block) {
  constexpr unsigned block_threads_max = 1024;
  constexpr unsigned grid_rows_max = 65535;
  const std::uint64_t threads = std::uint64_t{block.x} * block.y * block.z;
  return threads >= 1 && threads <= block_threads_max && block.z <= 64 && grid.x >= 1 &&
         grid.x <= INT32_MAX && grid.y >= 1 && grid.y <= grid_rows_max && grid.z >= 1 &&
         grid.z <= grid_rows_max;
}

bool reaches(const Device& device, const void* pointer) {
  const std::optional<Allocation> allocation = process().allocations.find(pointer);
  return pointer == nullptr || (allocation && (allocation->device == Allocation::host_memory ||
                                               allocation->device == device.number()));
}

// Whether this launch is the one that the environment has marked to fail.
bool is_to_fail() {
  static std::atomic<std::uint64_t> launches = 0;
  return ++launches == stand_in::settings().failing_kernel;
}

void run_kernel(Device& device, const std::string& name, const stand_in::BoundKernel& kernel,
                const stand_in::LaunchShape& shape) {
  const auto stray = std::ranges::find_if_not(
      kernel.pointers, [&](const void* pointer) { return reaches(device, pointer); });
  if (stray != kernel.pointers.end()) {
    stand_in::complain("kernel " + name + " was given pointer " +
                       std::to_string(stray - kernel.pointers.begin()) +
                       " (counted from 0) to memory that device " +
                       std::to_string(device.number()) + " cannot reach");
    device.fail(cudaErrorIllegalAddress);
    return;
  }
  const auto end = std::chrono::steady_clock::now() + stand_in::settings().kernel_min;
  try {
    kernel.run(shape);
    std::this_thread::sleep_until(end);
  } catch (const std::exception& error) {
    stand_in::complain("kernel " + name + ": " + error.what());
    device.fail(cudaErrorLaunchFailure);
  }
}

cudaError_t launch(const void* function, const CallConfiguration& call, void** arguments) {
  return stand_in::with_stream(call.stream, [&](const std::shared_ptr<Stream>& stream) {
    Device& device = stream->device();
    if (&device != &stand_in::current_device()) {
      return cudaErrorInvalidResourceHandle;
    }
    std::string name = "(unregistered)";
    const stand_in::EmulatedKernel* kernel = find_kernel(function, name);
    if (kernel == nullptr || call.shared_bytes != 0) {
      stand_in::complain(kernel == nullptr ? "kernel " + name + " has no form for the host"
                                           : "kernel " + name + " asks for dynamic shared memory");
      return cudaErrorInvalidDeviceFunction;
    }
    if (!valid_shape(call.grid, call.block)) {
      return cudaErrorInvalidConfiguration;
    }
    if (is_to_fail()) {
      stream->push([&device] { device.fail(cudaErrorIllegalAddress); });
      return cudaSuccess;
    }
    const stand_in::LaunchShape shape{.grid = {call.grid.x, call.grid.y, call.grid.z},
                                      .block = {call.block.x, call.block.y, call.block.z}};
    stream->push([&device, name, bound = kernel->bind(arguments), shape] {
      run_kernel(device, name, bound, shape);
    });
    return cudaSuccess;
  });
}

}  // namespace

// NOLINTBEGIN(bugprone-reserved-identifier,readability-function-size): nvcc's calls are so.
extern "C" {

void** __cudaRegisterFatBinary(void* /*binary*/) {
  static void* handle = nullptr;
  return &handle;
}

void __cudaRegisterFatBinaryEnd(void** /*handle*/) {}

void __cudaUnregisterFatBinary(void** /*handle*/) {}

char __cudaInitModule(void** /*handle*/) {
  return 1;
}

void __cudaRegisterFunction(void** /*handle*/, const char* host_function, char* /*device_function*/,
                            const char* device_name, int /*thread_limit*/, uint3* /*thread*/,
                            uint3* /*block*/, dim3* /*block_shape*/, dim3* /*grid_shape*/,
                            int* /*warp_size*/) {
  const std::scoped_lock lock(process().kernels_mutex);
  process().kernels[host_function] = device_name;
}

// Variables of a device are not played, but to have one is no error.
void __cudaRegisterVar(void** /*handle*/, char* /*host_variable*/, char* /*device_address*/,
                       const char* /*device_name*/, int /*is_external*/, size_t /*bytes*/,
                       int /*is_constant*/, int /*is_global*/) {}

unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared_bytes,
                                     cudaStream_t stream) {
  call_configurations.push_back(
      {.grid = grid, .block = block, .shared_bytes = shared_bytes, .stream = stream});
  return 0;
}

cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, size_t* shared_bytes,
                                       void* stream) {
  if (call_configurations.empty()) {
    return stand_in::note(cudaErrorMissingConfiguration);
  }
  const CallConfiguration call = call_configurations.back();
  call_configurations.pop_back();
  *grid = call.grid;
  *block = call.block;
  *shared_bytes = call.shared_bytes;
  *static_cast<cudaStream_t*>(stream) = call.stream;
  return cudaSuccess;
}

cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* function) {
  *kernel = static_cast<cudaKernel_t>(const_cast<void*>(function));
  return cudaSuccess;
}

cudaError_t cudaLaunchKernel(const void* function, dim3 grid, dim3 block, void** arguments,
                             size_t shared_bytes, cudaStream_t stream) {
  return launch(function,
                {.grid = grid, .block = block, .shared_bytes = shared_bytes, .stream = stream},
                arguments);
}

cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void** arguments,
                               size_t shared_bytes, cudaStream_t stream) {
  return cudaLaunchKernel(kernel, grid, block, arguments, shared_bytes, stream);
}
}
// NOLINTEND(bugprone-reserved-identifier,readability-function-size)
