#include "runtime/cuda/cuda_handles.h"

#include <utility>

#include <cuda_runtime_api.h>
#include <driver_types.h>

#include "runtime/cuda/cuda_error.h"

namespace dualpipe {

CudaEvent::CudaEvent() {
  require(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "making an event");
}
CudaEvent::~CudaEvent() {
  if (event_ != nullptr) {
    cudaEventDestroy(event_);
  }
}
CudaEvent::CudaEvent(CudaEvent&& other) noexcept : event_(std::exchange(other.event_, nullptr)) {}
CudaEvent& CudaEvent::operator=(CudaEvent&& other) noexcept {
  std::swap(event_, other.event_);
  return *this;
}

void CudaEvent::record(cudaStream_t stream) const {
  require(cudaEventRecord(event_, stream), "recording an event");
}

void CudaEvent::hold_back(cudaStream_t stream) const {
  require(cudaStreamWaitEvent(stream, event_, 0), "waiting for an event");
}

bool CudaEvent::happened() const {
  const cudaError_t state = cudaEventQuery(event_);
  if (state == cudaErrorNotReady) {
    return false;
  }
  require(state, "communication that was asked for");
  return true;
}

CudaStream::CudaStream() {
  int lowest = 0;
  int highest = 0;
  require(cudaDeviceGetStreamPriorityRange(&lowest, &highest), "asking for priorities");
  require(cudaStreamCreateWithPriority(&stream_, cudaStreamNonBlocking, highest),
          "making a stream");
}
CudaStream::~CudaStream() {
  cudaStreamDestroy(stream_);
}

bool CudaStream::is_idle() const {
  return cudaStreamQuery(stream_) != cudaErrorNotReady;
}

}  // namespace dualpipe
