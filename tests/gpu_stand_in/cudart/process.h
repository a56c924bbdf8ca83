// What the runtime library knows about its process and each of its threads, because its interface
// is made of functions without a context. Never destroyed: work may go on while the process ends.

#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <cuda_runtime_api.h>

#include "tests/gpu_stand_in/cudart/allocations.h"
#include "tests/gpu_stand_in/cudart/device.h"
#include "tests/gpu_stand_in/cudart/stream.h"
#include "tests/gpu_stand_in/handles.h"

namespace stand_in {

struct Event {
  Device& device;
  bool timed = true;
  std::mutex mutex;
  std::shared_ptr<const Completion> recorded;  // nullptr: never

  explicit Event(Device& of_device) : device(of_device) {}
  [[nodiscard]] std::shared_ptr<const Completion> point() {
    const std::scoped_lock lock(mutex);
    return recorded;
  }
};

struct Process {
  std::vector<std::unique_ptr<Device>> devices;
  Handles<Stream> streams;
  Handles<Event> events;
  Allocations allocations;
  // The names of kernels, by the address of the function that a program calls to launch them.
  std::mutex kernels_mutex;
  std::map<const void*, std::string> kernels;
};

[[nodiscard]] Process& process();

// Of the calling thread.
[[nodiscard]] Device& current_device();
void set_current_device(int number);

// The stream of a handle, and the current device's own one for nullptr; nullptr if there is none.
[[nodiscard]] std::shared_ptr<Stream> find_stream(cudaStream_t handle);

// Streams may not wait for calls made by the host functions in them.
class InHostFunction {
 public:
  InHostFunction();
  ~InHostFunction();
  InHostFunction(const InHostFunction&) = delete;
  InHostFunction& operator=(const InHostFunction&) = delete;
};

// cudaSuccess, or why no call but the simplest can work: no driver, no device, made from a host
// function.
[[nodiscard]] cudaError_t availability();

// The error that cudaGetLastError() gives, of the calling thread. note() returns its argument.
cudaError_t note(cudaError_t error);
[[nodiscard]] cudaError_t last_error();
void forget_last_error();

// What every call has around it.
template <typename Body>
cudaError_t guarded(const Body& body) {
  const cudaError_t available = availability();
  return note(available == cudaSuccess ? body() : available);
}

// As guarded(), for a call about a stream: body(const std::shared_ptr<Stream>&).
template <typename Body>
cudaError_t with_stream(cudaStream_t handle, const Body& body) {
  return guarded([&] {
    const std::shared_ptr<Stream> stream = find_stream(handle);
    if (!stream) {
      return cudaErrorInvalidResourceHandle;
    }
    const cudaError_t fault = stream->device().fault();
    return fault == cudaSuccess ? body(stream) : fault;
  });
}

// As guarded(), for a call about an event: body(Event&).
template <typename Body>
cudaError_t with_event(cudaEvent_t handle, const Body& body) {
  return guarded([&] {
    const std::shared_ptr<Event> event = process().events.find(handle);
    if (!event) {
      return cudaErrorInvalidResourceHandle;
    }
    const cudaError_t fault = event->device.fault();
    return fault == cudaSuccess ? body(*event) : fault;
  });
}

// Tells the developer, on stderr, what a bare error code does not.
void complain(const std::string& text);

}  // namespace stand_in
