// Devices and errors. The names, parameters and rules are those of NVIDIA's documentation.

#include <cstddef>
#include <cstdio>
#include <cstring>
#include <string_view>

#include <cuda_runtime_api.h>

#include "tests/gpu_stand_in/cudart/device.h"
#include "tests/gpu_stand_in/cudart/process.h"
#include "tests/gpu_stand_in/cudart/settings.h"

using stand_in::guarded;
using stand_in::note;

extern "C" {

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 0;
  return guarded([&] {
    *count = stand_in::settings().devices;
    return cudaSuccess;
  });
}

cudaError_t cudaSetDevice(int device) {
  return guarded([&] {
    if (device < 0 || device >= stand_in::settings().devices) {
      return cudaErrorInvalidDevice;
    }
    stand_in::set_current_device(device);
    return cudaSuccess;
  });
}

cudaError_t cudaGetDevice(int* device) {
  return guarded([&] {
    *device = stand_in::current_device().number();
    return cudaSuccess;
  });
}

cudaError_t cudaDriverGetVersion(int* version) {
  *version = stand_in::settings().driver_version;
  return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  return guarded([&] {
    if (device < 0 || device >= stand_in::settings().devices) {
      return cudaErrorInvalidDevice;
    }
    *properties = {};
    constexpr std::string_view name = "host stand-in";
    std::memcpy(properties->name, name.data(), name.size());
    properties->totalGlobalMem = stand_in::settings().memory_bytes;
    properties->major = 9;
    properties->minor = 0;
    properties->multiProcessorCount = 132;
    properties->maxThreadsPerBlock = 1024;
    properties->warpSize = 32;
    properties->unifiedAddressing = 1;
    properties->pciBusID = stand_in::settings().first_bus + device;
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  cudaDeviceProp properties;
  const cudaError_t error = cudaGetDeviceProperties(&properties, device);
  if (error != cudaSuccess) {
    return error;
  }
  switch (attribute) {
    case cudaDevAttrComputeCapabilityMajor:
      *value = properties.major;
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor:
      *value = properties.minor;
      return cudaSuccess;
    case cudaDevAttrMultiProcessorCount:
      *value = properties.multiProcessorCount;
      return cudaSuccess;
    default:
      stand_in::complain("cudaDeviceGetAttribute knows only the compute capability and SM count");
      return note(cudaErrorNotSupported);
  }
}

cudaError_t cudaDeviceGetPCIBusId(char* text, int length, int device) {
  return guarded([&] {
    if (device < 0 || device >= stand_in::settings().devices) {
      return cudaErrorInvalidDevice;
    }
    const int bus = stand_in::settings().first_bus + device;
    const int written =
        std::snprintf(text, static_cast<std::size_t>(length), "0000:%02x:00.0", bus);
    return written > 0 && written < length ? cudaSuccess : cudaErrorInvalidValue;
  });
}

cudaError_t cudaDeviceCanAccessPeer(int* can, int device, int peer) {
  return guarded([&] {
    const int devices = stand_in::settings().devices;
    if (device < 0 || device >= devices || peer < 0 || peer >= devices) {
      return cudaErrorInvalidDevice;
    }
    *can = device == peer ? 0 : 1;
    return cudaSuccess;
  });
}

// Copies need no leave here, and kernels get none: they are still found out.
cudaError_t cudaDeviceEnablePeerAccess(int peer, unsigned flags) {
  return guarded([&] {
    stand_in::Device& device = stand_in::current_device();
    if (flags != 0 || peer == device.number()) {
      return cudaErrorInvalidDevice;
    }
    return device.let_reach(peer) ? cudaSuccess : cudaErrorPeerAccessAlreadyEnabled;
  });
}

cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  return guarded([&] {
    *least = 0;
    *greatest = -5;
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceSynchronize() {
  return guarded([] {
    stand_in::Device& device = stand_in::current_device();
    device.wait_for_all();
    return device.fault();
  });
}

cudaError_t cudaMemGetInfo(size_t* free_bytes, size_t* all_bytes) {
  return guarded([&] {
    *free_bytes = stand_in::current_device().free_memory();
    *all_bytes = stand_in::settings().memory_bytes;
    return cudaSuccess;
  });
}

cudaError_t cudaGetLastError() {
  const cudaError_t error = stand_in::last_error();
  stand_in::forget_last_error();
  return error;
}

cudaError_t cudaPeekAtLastError() {
  return stand_in::last_error();
}

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorInvalidValue:
      return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidConfiguration:
      return "cudaErrorInvalidConfiguration";
    case cudaErrorInsufficientDriver:
      return "cudaErrorInsufficientDriver";
    case cudaErrorInvalidDeviceFunction:
      return "cudaErrorInvalidDeviceFunction";
    case cudaErrorNoDevice:
      return "cudaErrorNoDevice";
    case cudaErrorInvalidDevice:
      return "cudaErrorInvalidDevice";
    case cudaErrorInvalidResourceHandle:
      return "cudaErrorInvalidResourceHandle";
    case cudaErrorNotReady:
      return "cudaErrorNotReady";
    case cudaErrorIllegalAddress:
      return "cudaErrorIllegalAddress";
    case cudaErrorLaunchFailure:
      return "cudaErrorLaunchFailure";
    case cudaErrorNotPermitted:
      return "cudaErrorNotPermitted";
    case cudaErrorPeerAccessAlreadyEnabled:
      return "cudaErrorPeerAccessAlreadyEnabled";
    case cudaErrorNotSupported:
      return "cudaErrorNotSupported";
    default:
      return "unrecognized error code";
  }
}

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorInvalidValue:
      return "invalid argument";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorInvalidConfiguration:
      return "invalid configuration argument";
    case cudaErrorInsufficientDriver:
      return "CUDA driver version is insufficient for CUDA runtime version";
    case cudaErrorInvalidDeviceFunction:
      return "invalid device function";
    case cudaErrorNoDevice:
      return "no CUDA-capable device is detected";
    case cudaErrorInvalidDevice:
      return "invalid device ordinal";
    case cudaErrorInvalidResourceHandle:
      return "invalid resource handle";
    case cudaErrorNotReady:
      return "device not ready";
    case cudaErrorIllegalAddress:
      return "an illegal memory access was encountered";
    case cudaErrorLaunchFailure:
      return "unspecified launch failure";
    case cudaErrorNotPermitted:
      return "operation not permitted";
    case cudaErrorPeerAccessAlreadyEnabled:
      return "peer access is already enabled";
    case cudaErrorNotSupported:
      return "operation not supported";
    default:
      return "unrecognized error code";
  }
}
}
