// Memory, and what copies and fills it. The names, parameters and rules are those of NVIDIA's
// documentation.

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>

#include <cuda_runtime_api.h>

#include "tests/gpu_stand_in/cudart/allocations.h"
#include "tests/gpu_stand_in/cudart/device.h"
#include "tests/gpu_stand_in/cudart/process.h"
#include "tests/gpu_stand_in/cudart/stream.h"

using stand_in::Allocation;
using stand_in::Device;
using stand_in::guarded;
using stand_in::process;
using stand_in::Stream;

namespace {

cudaError_t allocate(void** memory, std::size_t bytes, int device) {
  *memory = nullptr;
  if (bytes == 0) {
    return cudaSuccess;
  }
  *memory = process().allocations.add(bytes, device);
  return *memory == nullptr ? cudaErrorMemoryAllocation : cudaSuccess;
}

// Waits for all devices that could be at work on the memory: with a kernel that never ends it never
// returns, on a GPU as here.
cudaError_t release(void* memory, bool on_host) {
  const std::optional<Allocation> allocation = process().allocations.find(memory);
  if (!allocation || allocation->begin != memory ||
      (allocation->device == Allocation::host_memory) != on_host) {
    return cudaErrorInvalidValue;
  }
  for (const std::unique_ptr<Device>& device : process().devices) {
    if (on_host || device->number() == allocation->device) {
      device->wait_for_all();
    }
  }
  if (!on_host) {
    process().devices[static_cast<std::size_t>(allocation->device)]->give_back_memory(
        allocation->bytes);
  }
  std::free(process().allocations.remove(memory)->begin);
  return cudaSuccess;
}

// One end of a copy.
struct End {
  bool on_device = false;
  bool pageable = false;  // host memory that no GPU can reach
  bool valid = true;      // the whole of it is in one allocation
};

End end_of(const void* memory, std::size_t bytes) {
  const std::optional<Allocation> allocation = process().allocations.find(memory);
  if (!allocation) {
    return {.pageable = bytes > 0};
  }
  return {.on_device = allocation->device != Allocation::host_memory,
          .valid = allocation->holds(memory, bytes)};
}

bool fits(cudaMemcpyKind kind, const End& from, const End& to) {
  switch (kind) {
    case cudaMemcpyHostToHost:
      return !from.on_device && !to.on_device;
    case cudaMemcpyHostToDevice:
      return !from.on_device && to.on_device;
    case cudaMemcpyDeviceToHost:
      return from.on_device && !to.on_device;
    case cudaMemcpyDeviceToDevice:
      return from.on_device && to.on_device;
    case cudaMemcpyDefault:
      return true;
  }
  return false;
}

struct Copy {
  void* to;
  const void* from;
  std::size_t bytes;
  cudaMemcpyKind kind;
};

// A copy from or to pageable memory makes the caller wait, as it may on a GPU.
cudaError_t copy_in(const std::shared_ptr<Stream>& stream, const Copy& copy, bool wait) {
  const End from = end_of(copy.from, copy.bytes);
  const End to = end_of(copy.to, copy.bytes);
  if (!from.valid || !to.valid || !fits(copy.kind, from, to)) {
    return cudaErrorInvalidValue;
  }
  const std::shared_ptr<const stand_in::Completion> completion = stream->push([copy] {
    if (copy.bytes > 0) {  // Nothing may be copied from nowhere.
      std::memmove(copy.to, copy.from, copy.bytes);
    }
  });
  if (wait || from.pageable || to.pageable) {
    completion->wait();
  }
  return stream->device().fault();
}

cudaError_t fill_in(const std::shared_ptr<Stream>& stream, void* memory, int value,
                    std::size_t bytes) {
  if (bytes == 0) {
    return cudaSuccess;
  }
  const End end = end_of(memory, bytes);
  if (end.pageable || !end.valid) {
    return cudaErrorInvalidValue;
  }
  stream->push([=] { std::memset(memory, value, bytes); });
  return cudaSuccess;
}

}  // namespace

extern "C" {

cudaError_t cudaMalloc(void** memory, size_t bytes) {
  return guarded([&] {
    Device& device = stand_in::current_device();
    if (device.fault() != cudaSuccess) {
      return device.fault();
    }
    if (!device.take_memory(bytes)) {
      return cudaErrorMemoryAllocation;
    }
    const cudaError_t error = allocate(memory, bytes, device.number());
    if (error != cudaSuccess) {
      device.give_back_memory(bytes);
    }
    return error;
  });
}

cudaError_t cudaFree(void* memory) {
  return guarded([&] { return memory == nullptr ? cudaSuccess : release(memory, false); });
}

cudaError_t cudaHostAlloc(void** memory, size_t bytes, unsigned /*flags*/) {
  return guarded([&] { return allocate(memory, bytes, Allocation::host_memory); });
}

cudaError_t cudaMallocHost(void** memory, size_t bytes) {
  return cudaHostAlloc(memory, bytes, cudaHostAllocDefault);
}

cudaError_t cudaFreeHost(void* memory) {
  return guarded([&] { return memory == nullptr ? cudaSuccess : release(memory, true); });
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* memory) {
  return guarded([&] {
    const std::optional<Allocation> allocation = process().allocations.find(memory);
    *attributes = {};
    if (!allocation) {
      attributes->type = cudaMemoryTypeUnregistered;
      attributes->device = cudaInvalidDeviceId;
      attributes->hostPointer = const_cast<void*>(memory);
      return cudaSuccess;
    }
    const bool on_host = allocation->device == Allocation::host_memory;
    attributes->type = on_host ? cudaMemoryTypeHost : cudaMemoryTypeDevice;
    attributes->device = on_host ? stand_in::current_device().number() : allocation->device;
    attributes->devicePointer = const_cast<void*>(memory);
    attributes->hostPointer = on_host ? const_cast<void*>(memory) : nullptr;
    return cudaSuccess;
  });
}

cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  return stand_in::with_stream(nullptr, [&](const std::shared_ptr<Stream>& stream) {
    return copy_in(stream, {.to = to, .from = from, .bytes = bytes, .kind = kind}, true);
  });
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  return stand_in::with_stream(stream, [&](const std::shared_ptr<Stream>& found) {
    return copy_in(found, {.to = to, .from = from, .bytes = bytes, .kind = kind}, false);
  });
}

cudaError_t cudaMemset(void* memory, int value, size_t bytes) {
  return cudaMemsetAsync(memory, value, bytes, nullptr);
}

cudaError_t cudaMemsetAsync(void* memory, int value, size_t bytes, cudaStream_t stream) {
  return stand_in::with_stream(stream, [&](const std::shared_ptr<Stream>& found) {
    return fill_in(found, memory, value, bytes);
  });
}
}
