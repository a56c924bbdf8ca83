// A GPU as a device: one queue, which is its compute stream, marks that are CUDA's events, and one
// allocation for each DeviceMemory. Beside the queue there is a second stream, for what a Math does
// on the side. The header has nothing of CUDA's in it; the library
// dualpipe::cuda does, and exists only where CMake found CUDA.
//
// CUDA keeps the current GPU per thread. Every function here makes the device's own current in the
// thread that calls it, so code of a stage, which the rank's thread calls between two of them,
// finds the right one.

#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/device.h"

struct CUevent_st;   // CUDA's, behind cudaEvent_t
struct CUstream_st;  // and behind cudaStream_t

namespace dualpipe {

// Why there is no GPU to be had: no driver, a driver that is too old, no device. Empty when there
// is one.
[[nodiscard]] std::string no_gpu_reason();
// How many this process may use. Throws Error (usage) "no GPU: <reason>" when there is none.
[[nodiscard]] int gpu_count();

// What CUDA is to find in the environment when it starts, where it does not say otherwise already;
// to be called before CUDA is used, while the process has one thread.
// CUDA_DEVICE_MAX_CONNECTIONS=32: streams that share a connection to the GPU wait for each other.
void prepare_cuda_environment();

class CudaDevice final : public Device {
 public:
  // Throws Error (usage) "no GPU: <reason>", or when there is none of this number.
  explicit CudaDevice(int ordinal);
  ~CudaDevice() override;
  CudaDevice(const CudaDevice&) = delete;
  CudaDevice& operator=(const CudaDevice&) = delete;

  [[nodiscard]] std::string_view name() const override { return "cuda"; }
  // 64, or fewer where slots ask for so much that the queue, which takes about a thousand pieces of
  // work, would fill up: then the host would wait in CUDA, without a deadline. What a slot asks for
  // is learned from those asked for so far. 0: a single slot comes near to filling it.
  [[nodiscard]] int run_ahead_max() const override;
  [[nodiscard]] bool memory_is_hosts() const override { return false; }

  [[nodiscard]] std::byte* allocate(std::size_t bytes, MemoryHome home) override;
  // Returns when the GPU has done what was asked of it before.
  void release(std::byte* memory, MemoryHome home) noexcept override;

  void copy(std::span<const std::byte> from, std::span<std::byte> to) override;
  void zero(std::span<std::byte> memory) override;
  void add(std::span<const float> addend, std::span<float> sum) override;

  void reserve_marks(std::size_t count) override;
  void mark(std::size_t number) override;
  [[nodiscard]] bool wait(std::size_t number, Deadline deadline) override;
  [[nodiscard]] bool finish(Deadline deadline) override;
  // The GPU's events are timed against each other, to about half a microsecond; one of them, set
  // after the mark and near to it, is laid on the host's clock. That is good to time_uncertainty(),
  // usually a few microseconds, and the same for all marks of a step.
  [[nodiscard]] std::chrono::steady_clock::time_point time_of(std::size_t number) override;

  // As NVTX ranges.
  void annotate(const char* text) override;

  // For whoever asks for work on this device by other ways than this class.
  [[nodiscard]] int ordinal() const { return ordinal_; }
  [[nodiscard]] CUstream_st* stream() const { return stream_; }
  // The second one, without an order between the two.
  [[nodiscard]] CUstream_st* side_stream() const { return side_stream_; }
  // They say how many pieces of work that is: launches, copies, waits.
  void note_asked(std::size_t pieces) { asked_ += pieces; }
  // Of this class and others, since the device was made.
  [[nodiscard]] std::uint64_t asked() const { return asked_; }
  // Where the GPU is on its host's buses, as "0000:01:00.0": the same for all processes there.
  [[nodiscard]] std::string bus_id() const;
  void make_current() const;

  // How far time_of() may be off, from the last step's tie to the host's clock.
  [[nodiscard]] std::chrono::nanoseconds time_uncertainty() const { return tie_.uncertainty; }

 private:
  // A moment that both clocks know.
  struct Tie {
    CUevent_st* event = nullptr;
    std::uint64_t set = 0;  // as Mark::set
    std::chrono::steady_clock::time_point host;
    std::chrono::nanoseconds uncertainty{};
  };
  struct Mark {
    CUevent_st* event = nullptr;
    std::uint64_t set = 0;  // how many marks had been set when this one was
  };

  void tie_clocks();

  int ordinal_;
  CUstream_st* stream_ = nullptr;
  CUstream_st* side_stream_ = nullptr;
  std::uint64_t asked_ = 0;
  std::uint64_t asked_at_mark_ = 0;      // the last one
  std::uint64_t asked_in_slot_max_ = 0;  // of any slot so far
  std::size_t last_mark_ = 0;            // its number
  std::vector<Mark> marks_;
  std::uint64_t marks_set_ = 0;
  std::array<CUevent_st*, 3> tie_events_{};
  CUevent_st* finish_event_ = nullptr;
  Tie tie_;
  bool annotated_ = false;
};

}  // namespace dualpipe
