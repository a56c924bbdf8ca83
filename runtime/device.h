// Device: where a rank's stages compute, and whose memory their numbers are in. Work is asked for
// in an order and done in that order: by the cpu at once, by a GPU later, in a queue (its compute
// stream) while the host goes on asking. The executor speaks to both alike: it asks, it leaves
// marks in the queue, and where it must know it waits for a mark.
//
// One Device belongs to one rank; its functions are called by that rank's thread. A Device outlives
// all memory allocated from it.

#pragma once

#include <chrono>
#include <cstddef>
#include <span>
#include <string_view>

namespace dualpipe {

using Deadline = std::chrono::steady_clock::time_point;

// device: where stages compute and messages lie. host: this process's own memory, in a form that
// the device's copies can read and write while the host goes on (pinned, for a GPU).
enum class MemoryHome { device, host };

class Device {
 public:
  virtual ~Device() = default;

  [[nodiscard]] virtual std::string_view name() const = 0;  // cpu, cuda

  // How many slots the host may have asked for that the device has not done; 0 where asking is
  // doing. A bound, for a host that runs away fills the queue and then waits without a deadline.
  [[nodiscard]] virtual int run_ahead_max() const = 0;

  // Whether the host can read and write memory of MemoryHome::device, as soon as the queue is past
  // what was asked for.
  [[nodiscard]] virtual bool memory_is_hosts() const = 0;

  // Zeroed memory, aligned to 64 bytes. Throws Error (infeasible) naming the bytes when there is
  // not that much. Used through DeviceMemory.
  [[nodiscard]] virtual std::byte* allocate(std::size_t bytes, MemoryHome home) = 0;
  // Waits until the queue is past what uses the memory.
  virtual void release(std::byte* memory, MemoryHome home) noexcept = 0;

  // Each takes its turn in the queue; memory is that of this device, of either home, and must stay
  // until the queue is past it. Sizes must be equal.
  virtual void copy(std::span<const std::byte> from, std::span<std::byte> to) = 0;
  virtual void zero(std::span<std::byte> memory) = 0;
  // sum[i] += addend[i], in float32.
  virtual void add(std::span<const float> addend, std::span<float> sum) = 0;

  // Marks are numbered 0 .. count - 1 and may be set again and again. Allocates; once.
  virtual void reserve_marks(std::size_t count) = 0;
  // Sets the mark behind everything asked for so far.
  virtual void mark(std::size_t number) = 0;
  // Waits until the queue has come to the mark; false when the deadline passes first. Throws Error
  // (callback) when what was asked for has failed on the device.
  [[nodiscard]] virtual bool wait(std::size_t number, Deadline deadline) = 0;
  // Waits until the queue is empty; false when the deadline passes first. Throws as wait() does.
  // For what is done between steps.
  [[nodiscard]] virtual bool finish(Deadline deadline) = 0;
  // When the queue came to the mark, by the host's steady clock. Requires: wait() has returned
  // true.
  [[nodiscard]] virtual std::chrono::steady_clock::time_point time_of(std::size_t number) = 0;

  // Names what is asked for until the next call, for profilers that watch. The text must outlive
  // the device's use; nullptr: nothing in particular.
  virtual void annotate(const char* text) = 0;
};

// Owns memory of a device.
class DeviceMemory {
 public:
  DeviceMemory() = default;
  DeviceMemory(Device& device, std::size_t bytes, MemoryHome home = MemoryHome::device);
  ~DeviceMemory();
  DeviceMemory(DeviceMemory&& other) noexcept;
  DeviceMemory& operator=(DeviceMemory&& other) noexcept;

  [[nodiscard]] std::span<std::byte> bytes() const { return {memory_, size_}; }
  // Requires: a whole number of floats.
  [[nodiscard]] std::span<float> floats() const;

 private:
  Device* device_ = nullptr;
  std::byte* memory_ = nullptr;
  std::size_t size_ = 0;
  MemoryHome home_ = MemoryHome::device;
};

}  // namespace dualpipe
