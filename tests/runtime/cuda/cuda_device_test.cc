#include "runtime/cuda/cuda_device.h"

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
#include "tests/support/needs_gpu.h"
#include "tests/support/refusal.h"

namespace dualpipe {
namespace {

using testing::AllOf;
using testing::Each;
using testing::HasSubstr;

using Clock = std::chrono::steady_clock;

class CudaDeviceTest : public NeedsGpu {};

Deadline soon() {
  return Clock::now() + std::chrono::seconds(20);
}

// What the device's memory holds when everything asked for is done.
std::vector<std::byte> read(CudaDevice& device, std::span<const std::byte> memory) {
  const DeviceMemory host(device, memory.size(), MemoryHome::host);
  device.reserve_marks(1);
  device.copy(memory, host.bytes());
  device.mark(0);
  EXPECT_TRUE(device.wait(0, soon()));
  return {host.bytes().begin(), host.bytes().end()};
}

DeviceMemory on_device(CudaDevice& device, const std::vector<float>& values) {
  const DeviceMemory host(device, values.size() * sizeof(float), MemoryHome::host);
  for (std::size_t i = 0; i < values.size(); ++i) {
    host.floats()[i] = values[i];
  }
  DeviceMemory memory(device, values.size() * sizeof(float));
  device.copy(host.bytes(), memory.bytes());
  static_cast<void>(read(device, memory.bytes()));  // `host` must outlive the copy.
  return memory;
}

// The refusal can only be seen where there is no GPU, as in CI; the other tests need one.
TEST(CudaDeviceWithoutGpu, IsRefusedWithTheReason) {
  if (no_gpu_reason().empty()) {
    GTEST_SKIP() << "there is a GPU";
  }
  EXPECT_EQ(refusal(ExitCode::usage, [] { return CudaDevice(0).ordinal(); }),
            "no GPU: " + no_gpu_reason());
}

TEST_F(CudaDeviceTest, AGpuThatIsNotThereIsRefused) {
  EXPECT_THAT(refusal(ExitCode::usage, [] { return CudaDevice(gpu_count()).ordinal(); }),
              AllOf(HasSubstr("no GPU of number " + std::to_string(gpu_count())),
                    HasSubstr("this process may use")));
}

TEST_F(CudaDeviceTest, GivesZeroedMemoryOnCacheLines) {
  CudaDevice device(0);
  for (const std::size_t bytes : {4U, 64U, 1000U}) {
    const DeviceMemory memory(device, bytes);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(memory.bytes().data()) % 64, 0U);
    EXPECT_THAT(read(device, memory.bytes()), Each(std::byte{0}));
    const DeviceMemory host(device, bytes, MemoryHome::host);
    EXPECT_THAT(host.bytes(), Each(std::byte{0}));
  }
  EXPECT_TRUE(DeviceMemory(device, 0).bytes().empty());
}

TEST_F(CudaDeviceTest, SaysHowMuchMemoryThereIsNot) {
  CudaDevice device(0);
  const std::size_t most = std::numeric_limits<std::ptrdiff_t>::max() / 2;
  EXPECT_THAT(refusal(ExitCode::infeasible,
                      [&] { return device.allocate(most, MemoryHome::device) == nullptr; }),
              AllOf(HasSubstr(std::to_string(most)), HasSubstr("GPU 0")));
}

// More elements than all threads together, so that each thread has several.
TEST_F(CudaDeviceTest, AddsEveryElementOnce) {
  CudaDevice device(0);
  std::vector<float> addend(600'001);
  for (std::size_t i = 0; i < addend.size(); ++i) {
    addend[i] = static_cast<float>(i % 1024);
  }
  const DeviceMemory one = on_device(device, addend);
  const DeviceMemory sum = on_device(device, std::vector<float>(addend.size(), 0.5F));
  device.add(one.floats(), sum.floats());
  const DeviceMemory host(device, sum.bytes().size(), MemoryHome::host);
  device.reserve_marks(1);
  device.copy(sum.bytes(), host.bytes());
  device.mark(0);
  ASSERT_TRUE(device.wait(0, soon()));
  for (std::size_t i = 0; i < addend.size(); ++i) {
    ASSERT_EQ(host.floats()[i], static_cast<float>(i % 1024) + 0.5F) << i;
  }
}

TEST_F(CudaDeviceTest, CopiesAndZeroesInOrder) {
  CudaDevice device(0);
  const DeviceMemory from = on_device(device, std::vector<float>(64, 1.0F));
  const DeviceMemory to(device, from.bytes().size());
  device.copy(from.bytes(), to.bytes());
  device.zero(from.bytes());
  EXPECT_THAT(read(device, from.bytes()), Each(std::byte{0}));
  EXPECT_EQ(read(device, to.bytes()),
            read(device, on_device(device, std::vector<float>(64, 1.0F)).bytes()));
}

TEST_F(CudaDeviceTest, MarksAreTimedByTheHostsClockInOrder) {
  CudaDevice device(0);
  device.reserve_marks(2);
  const DeviceMemory memory(device, std::size_t{1} << 20);
  for (int step = 0; step < 3; ++step) {
    const Clock::time_point before = Clock::now();
    device.mark(1);
    device.zero(memory.bytes());
    device.mark(0);
    ASSERT_TRUE(device.wait(0, soon()));
    const Clock::time_point after = Clock::now();
    ASSERT_TRUE(device.wait(1, {}));
    const Clock::time_point first = device.time_of(1);
    const auto slack = device.time_uncertainty() + std::chrono::microseconds(10);
    EXPECT_LE(before - slack, first);
    EXPECT_LE(first, device.time_of(0));
    EXPECT_LE(device.time_of(0), after + slack);
  }
}

// Marks of neighbouring numbers have a slot between them. Of at most 500 pieces of work, and of 64
// slots.
TEST_F(CudaDeviceTest, TheHostIsNoFurtherAheadThanTheQueueHasRoomFor) {
  CudaDevice device(0);
  device.reserve_marks(8);
  EXPECT_EQ(device.run_ahead_max(), 64);
  const DeviceMemory memory(device, 64);
  const auto slot = [&](std::size_t first_mark, int copies) {
    device.mark(first_mark);
    for (int copy = 0; copy < copies; ++copy) {
      device.copy(memory.bytes().first(32), memory.bytes().last(32));
    }
    device.mark(first_mark + 1);
  };
  slot(0, 6);  // seven pieces, with the mark
  EXPECT_EQ(device.run_ahead_max(), 64);
  slot(2, 49);
  EXPECT_EQ(device.run_ahead_max(), 10);
  slot(4, 9);
  EXPECT_EQ(device.run_ahead_max(), 10);
  device.mark(7);  // what is between slots is none
  for (int copy = 0; copy < 2000; ++copy) {
    device.copy(memory.bytes().first(32), memory.bytes().last(32));
  }
  device.mark(6);
  EXPECT_EQ(device.run_ahead_max(), 10);
  slot(6, 600);
  EXPECT_EQ(device.run_ahead_max(), 0);
}

TEST_F(CudaDeviceTest, ItsPlaceOnTheBusIsItsOwn) {
  const CudaDevice device(0);
  EXPECT_THAT(device.bus_id(), testing::MatchesRegex("[0-9a-fA-F]+:[0-9a-fA-F]+:[0-9a-fA-F]+\\.0"));
  if (gpu_count() > 1) {
    EXPECT_NE(CudaDevice(1).bus_id(), device.bus_id());
  }
}

}  // namespace
}  // namespace dualpipe
