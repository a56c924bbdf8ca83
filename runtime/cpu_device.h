// The host as a device: asking is doing, a mark is the time when it was set.

#pragma once

#include <chrono>
#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "runtime/device.h"

namespace dualpipe {

class CpuDevice final : public Device {
 public:
  [[nodiscard]] std::string_view name() const override { return "cpu"; }
  [[nodiscard]] int run_ahead_max() const override { return 0; }
  [[nodiscard]] bool memory_is_hosts() const override { return true; }

  [[nodiscard]] std::byte* allocate(std::size_t bytes, MemoryHome home) override;
  void release(std::byte* memory, MemoryHome home) noexcept override;

  void copy(std::span<const std::byte> from, std::span<std::byte> to) override;
  void zero(std::span<std::byte> memory) override;
  void add(std::span<const float> addend, std::span<float> sum) override;

  void reserve_marks(std::size_t count) override { times_.resize(count); }
  void mark(std::size_t number) override { times_[number] = std::chrono::steady_clock::now(); }
  [[nodiscard]] bool wait(std::size_t /*number*/, Deadline /*deadline*/) override { return true; }
  [[nodiscard]] bool finish(Deadline /*deadline*/) override { return true; }
  [[nodiscard]] std::chrono::steady_clock::time_point time_of(std::size_t number) override {
    return times_[number];
  }
  void annotate(const char* /*text*/) override {}

 private:
  std::vector<std::chrono::steady_clock::time_point> times_;
};

}  // namespace dualpipe
