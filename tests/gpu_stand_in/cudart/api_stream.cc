// Streams, events and host functions. The names, parameters and rules are those of NVIDIA's
// documentation; of streams there are only those that do not wait for the default stream.

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <ratio>

#include <cuda_runtime_api.h>

#include "tests/gpu_stand_in/cudart/allocations.h"
#include "tests/gpu_stand_in/cudart/device.h"
#include "tests/gpu_stand_in/cudart/enqueue.h"
#include "tests/gpu_stand_in/cudart/process.h"
#include "tests/gpu_stand_in/cudart/stream.h"

using stand_in::Completion;
using stand_in::Event;
using stand_in::guarded;
using stand_in::process;
using stand_in::Stream;
using stand_in::with_event;
using stand_in::with_stream;

namespace {

using Point = std::shared_ptr<const Completion>;

cudaError_t readiness(const Point& point) {
  return !point || point->is_done() ? cudaSuccess : cudaErrorNotReady;
}

// One at a time in the whole process: CUDA says that it may run them one after another, and a
// program in which one waits for another must not pass.
void run_host_function(cudaHostFn_t function, void* data) {
  static std::mutex& one_at_a_time = *new std::mutex;
  const std::scoped_lock lock(one_at_a_time);
  const stand_in::InHostFunction guard;
  function(data);
}

}  // namespace

extern "C" {

cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags, int /*priority*/) {
  return guarded([&] {
    if (flags != cudaStreamNonBlocking) {
      stand_in::complain("only streams with cudaStreamNonBlocking are played here");
      return cudaErrorNotSupported;
    }
    stand_in::Device& device = stand_in::current_device();
    if (device.fault() != cudaSuccess) {
      return device.fault();
    }
    *stream = static_cast<cudaStream_t>(process().streams.add(device.add_stream()));
    return cudaSuccess;
  });
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  return cudaStreamCreateWithPriority(stream, flags, 0);
}

// Returns at once; what has been asked for is still done.
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  return guarded([&] {
    const std::shared_ptr<Stream> removed = process().streams.remove(stream);
    if (!removed) {
      return cudaErrorInvalidResourceHandle;
    }
    removed->push([device = &removed->device(), removed] { device->remove_stream(removed); });
    removed->retire();
    return cudaSuccess;
  });
}

cudaError_t cudaStreamQuery(cudaStream_t stream) {
  return with_stream(stream, [](const std::shared_ptr<Stream>& found) {
    const cudaError_t ready = readiness(found->last());
    return found->device().fault() == cudaSuccess ? ready : found->device().fault();
  });
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  return with_stream(stream, [](const std::shared_ptr<Stream>& found) {
    found->last()->wait();
    return found->device().fault();
  });
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned /*flags*/) {
  return with_stream(stream, [&](const std::shared_ptr<Stream>& found) {
    return with_event(event, [&](Event& waited_for) {
      if (const Point point = waited_for.point()) {
        found->push([point] { point->wait(); });
      }
      return cudaSuccess;
    });
  });
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  return guarded([&] {
    auto made = std::make_shared<Event>(stand_in::current_device());
    made->timed = (flags & cudaEventDisableTiming) == 0;
    *event = static_cast<cudaEvent_t>(process().events.add(made));
    return cudaSuccess;
  });
}

cudaError_t cudaEventCreate(cudaEvent_t* event) {
  return cudaEventCreateWithFlags(event, cudaEventDefault);
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  return guarded([&] {
    return process().events.remove(event) ? cudaSuccess : cudaErrorInvalidResourceHandle;
  });
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return with_stream(stream, [&](const std::shared_ptr<Stream>& found) {
    return with_event(event, [&](Event& recorded) {
      if (&recorded.device != &found->device()) {
        return cudaErrorInvalidResourceHandle;
      }
      const std::scoped_lock lock(recorded.mutex);
      recorded.recorded = found->push([] {});
      return cudaSuccess;
    });
  });
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  return with_event(event, [](Event& queried) { return readiness(queried.point()); });
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  return with_event(event, [](Event& waited_for) {
    if (const Point point = waited_for.point()) {
      point->wait();
    }
    return waited_for.device.fault();
  });
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
  return with_event(begin, [&](Event& first) {
    return with_event(end, [&](Event& second) {
      const Point from = first.point();
      const Point to = second.point();
      if (!from || !to || !first.timed || !second.timed || &first.device != &second.device) {
        return cudaErrorInvalidResourceHandle;
      }
      if (!from->is_done() || !to->is_done()) {
        return cudaErrorNotReady;
      }
      *milliseconds = std::chrono::duration<float, std::milli>(to->time() - from->time()).count();
      return cudaSuccess;
    });
  });
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void* data) {
  return with_stream(stream, [&](const std::shared_ptr<Stream>& found) {
    found->push([=] { run_host_function(function, data); });
    return cudaSuccess;
  });
}

cudaError_t dualpipe_stand_in_enqueue(cudaStream_t stream, const std::function<void()>& work) {
  return with_stream(stream, [&](const std::shared_ptr<Stream>& found) {
    found->push(work);
    return cudaSuccess;
  });
}

bool dualpipe_stand_in_reaches(cudaStream_t stream, const void* memory, std::size_t bytes) {
  const std::shared_ptr<Stream> found = stand_in::find_stream(stream);
  const auto allocation = process().allocations.find(memory);
  return found && allocation && allocation->holds(memory, bytes) &&
         (allocation->device == stand_in::Allocation::host_memory ||
          allocation->device == found->device().number());
}
}
