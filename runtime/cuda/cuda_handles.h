// Owners of CUDA's events and streams. They are made on the calling thread's current GPU. Inner
// part of the CUDA backend.

#pragma once

#include <driver_types.h>

namespace dualpipe {

// For order alone: it knows no time.
class CudaEvent {
 public:
  CudaEvent();
  ~CudaEvent();
  CudaEvent(CudaEvent&& other) noexcept;
  CudaEvent& operator=(CudaEvent&& other) noexcept;

  // Sets it behind all that was asked of the stream so far. Requires: a stream of the same GPU.
  void record(cudaStream_t stream) const;
  // Makes a stream of any GPU wait until then, and no longer if the event is recorded again.
  void hold_back(cudaStream_t stream) const;
  // Whether it has happened. Throws Error (callback) when the GPU has failed.
  [[nodiscard]] bool happened() const;

 private:
  cudaEvent_t event_ = nullptr;
};

// A stream for communication: of the highest priority, so that a message does not queue behind
// computation that has begun after it.
class CudaStream {
 public:
  CudaStream();
  ~CudaStream();
  CudaStream(const CudaStream&) = delete;
  CudaStream& operator=(const CudaStream&) = delete;

  [[nodiscard]] cudaStream_t get() const { return stream_; }
  // Whether it has nothing more to do; true as well when the GPU has failed.
  [[nodiscard]] bool is_idle() const;

 private:
  cudaStream_t stream_ = nullptr;
};

}  // namespace dualpipe
