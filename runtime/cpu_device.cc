#include "runtime/cpu_device.h"

#include <cstddef>
#include <cstring>
#include <new>
#include <span>

#include <fmt/core.h>
#include <unistd.h>

#include "costs/check.h"
#include "costs/error.h"
#include "runtime/device.h"

namespace dualpipe {
namespace {

constexpr std::align_val_t alignment{64};

}  // namespace

std::byte* CpuDevice::allocate(std::size_t bytes, MemoryHome /*home*/) {
  const std::size_t machine_bytes = static_cast<std::size_t>(sysconf(_SC_PHYS_PAGES)) *
                                    static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  void* const memory =
      bytes > machine_bytes ? nullptr : ::operator new[](bytes, alignment, std::nothrow);
  if (memory == nullptr) {
    throw Error(ExitCode::infeasible,
                fmt::format("no memory for {} bytes on the host; use smaller sizes, fewer "
                            "microbatches, or more ranks",
                            bytes));
  }
  if (bytes > 0) {
    std::memset(memory, 0, bytes);
  }
  return static_cast<std::byte*>(memory);
}

void CpuDevice::release(std::byte* memory, MemoryHome /*home*/) noexcept {
  ::operator delete[](memory, alignment);
}

void CpuDevice::copy(std::span<const std::byte> from, std::span<std::byte> to) {
  CHECK(from.size() == to.size());
  if (!from.empty()) {
    std::memcpy(to.data(), from.data(), from.size());
  }
}

void CpuDevice::zero(std::span<std::byte> memory) {
  if (!memory.empty()) {
    std::memset(memory.data(), 0, memory.size());
  }
}

void CpuDevice::add(std::span<const float> addend, std::span<float> sum) {
  CHECK(addend.size() == sum.size());
  for (std::size_t i = 0; i < sum.size(); ++i) {
    sum[i] += addend[i];
  }
}

}  // namespace dualpipe
