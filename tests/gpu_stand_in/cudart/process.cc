#include "tests/gpu_stand_in/cudart/process.h"

#include <cstddef>
#include <cstdio>
#include <memory>
#include <string>

#include <cuda_runtime_api.h>

#include "tests/gpu_stand_in/cudart/device.h"
#include "tests/gpu_stand_in/cudart/settings.h"
#include "tests/gpu_stand_in/cudart/stream.h"

namespace stand_in {
namespace {

thread_local int current_device_number = 0;
thread_local cudaError_t last_error_of_thread = cudaSuccess;
thread_local bool in_host_function = false;

}  // namespace

Process& process() {
  static Process& process = *[] {
    auto* made = new Process;
    for (int number = 0; number < settings().devices; ++number) {
      made->devices.push_back(std::make_unique<Device>(number));
    }
    return made;
  }();
  return process;
}

Device& current_device() {
  return *process().devices[static_cast<std::size_t>(current_device_number)];
}

void set_current_device(int number) {
  current_device_number = number;
}

std::shared_ptr<Stream> find_stream(cudaStream_t handle) {
  return handle == nullptr ? current_device().default_stream() : process().streams.find(handle);
}

InHostFunction::InHostFunction() {
  in_host_function = true;
}

InHostFunction::~InHostFunction() {
  in_host_function = false;
}

cudaError_t availability() {
  if (settings().driver_version == 0) {
    return cudaErrorInsufficientDriver;
  }
  if (settings().devices == 0) {
    return cudaErrorNoDevice;
  }
  return in_host_function ? cudaErrorNotPermitted : cudaSuccess;
}

cudaError_t note(cudaError_t error) {
  if (error != cudaSuccess) {
    last_error_of_thread = error;
  }
  return error;
}

cudaError_t last_error() {
  if (availability() == cudaSuccess && current_device().fault() != cudaSuccess) {
    return current_device().fault();
  }
  return last_error_of_thread;
}

void forget_last_error() {
  last_error_of_thread = cudaSuccess;
}

void complain(const std::string& text) {
  static_cast<void>(std::fprintf(stderr, "GPU stand-in: %s\n", text.c_str()));
}

}  // namespace stand_in
