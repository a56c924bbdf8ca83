#include "runtime/device.h"

#include <utility>

#include <gtest/gtest.h>

#include "runtime/cpu_device.h"

namespace dualpipe {
namespace {

// That memory is released, and once, is for the address sanitizer to say.
TEST(DeviceMemory, MovesWithItsContent) {
  CpuDevice device;
  DeviceMemory first(device, 12);
  first.floats()[2] = 5.0F;
  DeviceMemory second(std::move(first));
  EXPECT_EQ(second.floats().size(), 3U);
  EXPECT_EQ(second.floats()[2], 5.0F);
  DeviceMemory third(device, 400);
  third = std::move(second);
  EXPECT_EQ(third.bytes().size(), 12U);
  EXPECT_EQ(third.floats()[2], 5.0F);
}

TEST(DeviceMemory, IsEmptyAtFirst) {
  const DeviceMemory memory;
  EXPECT_TRUE(memory.bytes().empty());
  EXPECT_TRUE(memory.floats().empty());
}

TEST(DeviceMemoryDeathTest, IsAWholeNumberOfFloatsOrNone) {
  CpuDevice device;
  const DeviceMemory memory(device, 7);
  EXPECT_DEATH(static_cast<void>(memory.floats()), "sizeof\\(float\\)");
}

}  // namespace
}  // namespace dualpipe
