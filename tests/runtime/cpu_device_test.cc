#include "runtime/cpu_device.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/error.h"
#include "runtime/device.h"
#include "tests/support/refusal.h"

namespace dualpipe {
namespace {

using testing::AllOf;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;

TEST(CpuDevice, GivesZeroedMemoryOnCacheLines) {
  CpuDevice device;
  for (const MemoryHome home : {MemoryHome::device, MemoryHome::host}) {
    for (const std::size_t bytes : {0U, 4U, 64U, 1000U}) {
      const DeviceMemory memory(device, bytes, home);
      EXPECT_EQ(memory.bytes().size(), bytes);
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(memory.bytes().data()) % 64, 0U);
      EXPECT_THAT(memory.bytes(), Each(std::byte{0}));
    }
  }
}

TEST(CpuDevice, SaysHowMuchMemoryThereIsNot) {
  CpuDevice device;
  const std::size_t most = std::numeric_limits<std::ptrdiff_t>::max() / 2;
  EXPECT_THAT(refusal(ExitCode::infeasible,
                      [&] { return device.allocate(most, MemoryHome::device) == nullptr; }),
              AllOf(HasSubstr(std::to_string(most)), HasSubstr("smaller")));
}

TEST(CpuDevice, CopiesAddsAndZeroes) {
  CpuDevice device;
  const std::vector<float> addend{1.0F, 2.0F, -3.0F};
  std::vector<float> sum{10.0F, 20.0F, 30.0F};
  device.add(addend, sum);
  EXPECT_THAT(sum, ElementsAre(11.0F, 22.0F, 27.0F));
  device.copy(std::as_bytes(std::span(addend)), std::as_writable_bytes(std::span(sum)));
  EXPECT_THAT(sum, ElementsAre(1.0F, 2.0F, -3.0F));
  device.zero(std::as_writable_bytes(std::span(sum).first(2)));
  EXPECT_THAT(sum, ElementsAre(0.0F, 0.0F, -3.0F));
}

TEST(CpuDevice, AMarkIsReachedWhenItIsSet) {
  CpuDevice device;
  device.reserve_marks(2);
  const auto before = std::chrono::steady_clock::now();
  device.mark(1);
  device.mark(0);
  const auto after = std::chrono::steady_clock::now();
  EXPECT_TRUE(device.wait(0, {}));
  EXPECT_TRUE(device.wait(1, {}));
  EXPECT_LE(before, device.time_of(1));
  EXPECT_LE(device.time_of(1), device.time_of(0));
  EXPECT_LE(device.time_of(0), after);
}

}  // namespace
}  // namespace dualpipe
