#include "runtime/cuda/cuda_device.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <ratio>
#include <span>
#include <string>
#include <thread>

#include <cuda_runtime_api.h>
#include <driver_types.h>
#include <fmt/core.h>
#include <nvtx3/nvToolsExt.h>
#include <stdlib.h>  // setenv

#include "costs/check.h"
#include "costs/error.h"
#include "runtime/cuda/cuda_error.h"
#include "runtime/cuda/kernel_launch.h"
#include "runtime/cuda/kernels.h"
#include "runtime/device.h"

namespace dualpipe {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int polls_yielding = 200;                  // before a thread that waits sleeps
constexpr std::chrono::microseconds poll_pause{20};  // between two looks from then on
constexpr std::chrono::seconds tie_limit{5};         // for an empty queue to take one event
constexpr std::uint64_t slots_ahead_max = 64;
// Half of what a stream takes before whoever asks for more has to wait: the other half is for the
// slot that is being asked for.
constexpr std::uint64_t pieces_ahead_max = 500;

std::string version_text(int version) {
  return fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

// Waits until the event has happened; false when the deadline passes first.
bool wait_for(cudaEvent_t event, Deadline deadline) {
  for (int polls = 0;; ++polls) {
    const cudaError_t state = cudaEventQuery(event);
    if (state == cudaSuccess) {
      return true;
    }
    if (state != cudaErrorNotReady) {
      require(state, "work that was asked for");
    }
    if (Clock::now() >= deadline) {
      return false;
    }
    if (polls < polls_yielding) {
      std::this_thread::yield();
    } else {
      std::this_thread::sleep_for(poll_pause);
    }
  }
}

}  // namespace

std::string no_gpu_reason() {
  int count = 0;
  const cudaError_t result = cudaGetDeviceCount(&count);
  if (result == cudaSuccess && count > 0) {
    return {};
  }
  int driver = 0;
  int runtime = 0;
  if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0) {
    return "NVIDIA's driver is not installed";
  }
  if (result == cudaErrorInsufficientDriver && cudaRuntimeGetVersion(&runtime) == cudaSuccess) {
    return fmt::format("NVIDIA's driver is for CUDA {}, this program for {}", version_text(driver),
                       version_text(runtime));
  }
  return result == cudaSuccess ? "the driver shows no device" : cudaGetErrorString(result);
}

int gpu_count() {
  const std::string reason = no_gpu_reason();
  if (!reason.empty()) {
    throw Error(ExitCode::usage, "no GPU: " + reason);
  }
  int count = 0;
  require(cudaGetDeviceCount(&count), "counting GPUs");
  return count;
}

void prepare_cuda_environment() {
  ::setenv("CUDA_DEVICE_MAX_CONNECTIONS", "32", 0);
}

CudaDevice::CudaDevice(int ordinal) : ordinal_(ordinal) {
  const int count = gpu_count();
  if (ordinal < 0 || ordinal >= count) {
    throw Error(ExitCode::usage, fmt::format("no GPU of number {}: this process may use {} of them",
                                             ordinal, count));
  }
  make_current();
  require(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "making a stream");
  require(cudaStreamCreateWithFlags(&side_stream_, cudaStreamNonBlocking), "making a stream");
  for (cudaEvent_t& event : tie_events_) {
    require(cudaEventCreateWithFlags(&event, cudaEventDefault), "making an event");
  }
  require(cudaEventCreateWithFlags(&finish_event_, cudaEventDisableTiming), "making an event");
}

// Nothing here waits for the GPU: after a failure it may never come to an end.
CudaDevice::~CudaDevice() {
  annotate(nullptr);
  for (const Mark& mark : marks_) {
    cudaEventDestroy(mark.event);
  }
  for (const cudaEvent_t event : tie_events_) {
    cudaEventDestroy(event);
  }
  cudaEventDestroy(finish_event_);
  cudaStreamDestroy(side_stream_);
  cudaStreamDestroy(stream_);
}

void CudaDevice::make_current() const {
  require(cudaSetDevice(ordinal_), "choosing a GPU");
}

std::string CudaDevice::bus_id() const {
  std::array<char, 32> text{};
  require(cudaDeviceGetPCIBusId(text.data(), static_cast<int>(text.size()), ordinal_),
          "asking where a GPU is");
  return text.data();
}

int CudaDevice::run_ahead_max() const {
  const std::uint64_t in_slot = std::max<std::uint64_t>(1, asked_in_slot_max_);
  return static_cast<int>(std::min(slots_ahead_max, pieces_ahead_max / in_slot));
}

std::byte* CudaDevice::allocate(std::size_t bytes, MemoryHome home) {
  make_current();
  void* memory = nullptr;
  const bool on_device = home == MemoryHome::device;
  const cudaError_t result =
      on_device ? cudaMalloc(&memory, bytes) : cudaHostAlloc(&memory, bytes, cudaHostAllocDefault);
  if (result == cudaErrorMemoryAllocation) {
    static_cast<void>(cudaGetLastError());  // It is told here, and would be told again elsewhere.
    throw Error(ExitCode::infeasible,
                fmt::format("no memory for {} bytes on {}; use smaller sizes, fewer microbatches, "
                            "or more ranks",
                            bytes, on_device ? fmt::format("GPU {}", ordinal_) : "the host"));
  }
  require(result, "allocating memory");
  const std::span<std::byte> allocated(static_cast<std::byte*>(memory), bytes);
  if (on_device) {
    zero(allocated);
  } else if (bytes > 0) {
    std::memset(memory, 0, bytes);
  }
  return allocated.data();
}

// Freeing waits for the device by itself, says CUDA's manual, but not for copies of other devices.
void CudaDevice::release(std::byte* memory, MemoryHome home) noexcept {
  if (memory == nullptr) {
    return;
  }
  cudaSetDevice(ordinal_);
  cudaDeviceSynchronize();
  if (home == MemoryHome::device) {
    cudaFree(memory);
  } else {
    cudaFreeHost(memory);
  }
}

void CudaDevice::copy(std::span<const std::byte> from, std::span<std::byte> to) {
  CHECK(from.size() == to.size());
  if (!from.empty()) {
    make_current();
    note_asked(1);
    require(cudaMemcpyAsync(to.data(), from.data(), from.size(), cudaMemcpyDefault, stream_),
            "copying");
  }
}

void CudaDevice::zero(std::span<std::byte> memory) {
  if (!memory.empty()) {
    make_current();
    note_asked(1);
    require(cudaMemsetAsync(memory.data(), 0, memory.size(), stream_), "zeroing memory");
  }
}

void CudaDevice::add(std::span<const float> addend, std::span<float> sum) {
  CHECK(addend.size() == sum.size());
  if (sum.empty()) {
    return;
  }
  make_current();
  note_asked(1);
  launch(launch_of_elements(stream_, sum.size()), dualpipe_add, addend.data(), sum.data(),
         sum.size());
}

void CudaDevice::reserve_marks(std::size_t count) {
  make_current();
  while (marks_.size() < count) {
    Mark mark;
    require(cudaEventCreateWithFlags(&mark.event, cudaEventDefault), "making an event");
    marks_.push_back(mark);
  }
}

// A slot lies between two marks of neighbouring numbers (step_marks.h). What lies between others,
// such as the optimizer or a run without a pipeline, is asked for while no message is on its way.
void CudaDevice::mark(std::size_t number) {
  make_current();
  note_asked(1);
  if (number == last_mark_ + 1) {
    asked_in_slot_max_ = std::max(asked_in_slot_max_, asked_ - asked_at_mark_);
  }
  asked_at_mark_ = asked_;
  last_mark_ = number;
  Mark& mark = marks_[number];
  require(cudaEventRecord(mark.event, stream_), "setting a mark");
  mark.set = ++marks_set_;
}

bool CudaDevice::wait(std::size_t number, Deadline deadline) {
  make_current();
  return wait_for(marks_[number].event, deadline);
}

bool CudaDevice::finish(Deadline deadline) {
  make_current();
  require(cudaEventRecord(finish_event_, stream_), "setting a mark");
  return wait_for(finish_event_, deadline);
}

// The event happens between the two looks at the host's clock; the shortest of a few tries says
// best when.
void CudaDevice::tie_clocks() {
  tie_.uncertainty = std::chrono::nanoseconds::max();
  for (const cudaEvent_t event : tie_events_) {
    const Clock::time_point before = Clock::now();
    require(cudaEventRecord(event, stream_), "setting a mark");
    if (!wait_for(event, before + tie_limit)) {
      throw Error(ExitCode::timeout,
                  fmt::format("GPU {} did not come to the end of its queue within {} s", ordinal_,
                              tie_limit.count()));
    }
    const std::chrono::nanoseconds half = (Clock::now() - before) / 2;
    if (half < tie_.uncertainty) {
      tie_.event = event;
      tie_.host = before + half;
      tie_.uncertainty = half;
    }
  }
  tie_.set = ++marks_set_;
}

// A tie serves the marks before it, so a step's first question makes one and the others use it:
// clocks that drift apart are tied anew for every step, and times between events, which CUDA gives
// as a float of milliseconds, stay as short and so as exact as the step.
std::chrono::steady_clock::time_point CudaDevice::time_of(std::size_t number) {
  make_current();
  const Mark& mark = marks_[number];
  CHECK(mark.set > 0);
  if (mark.set > tie_.set) {
    tie_clocks();
  }
  float milliseconds = 0.0F;
  require(cudaEventElapsedTime(&milliseconds, mark.event, tie_.event), "timing a mark");
  return tie_.host - std::chrono::duration_cast<std::chrono::nanoseconds>(
                         std::chrono::duration<double, std::milli>(milliseconds));
}

void CudaDevice::annotate(const char* text) {
  if (annotated_) {
    nvtxRangePop();
  }
  annotated_ = text != nullptr;
  if (annotated_) {
    nvtxRangePushA(text);
  }
}

}  // namespace dualpipe
