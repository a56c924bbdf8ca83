#include "runtime/cuda/kernel_launch.h"

#include <cstddef>

#include <gtest/gtest.h>

#include "runtime/cuda/kernel_shapes.h"

namespace dualpipe {
namespace {

TEST(KernelLaunch, ThereIsAThreadForEveryElementWhereThereAreFew) {
  EXPECT_EQ(launch_of_elements(nullptr, 1).grid.x, 1U);
  EXPECT_EQ(launch_of_elements(nullptr, element_threads).grid.x, 1U);
  EXPECT_EQ(launch_of_elements(nullptr, element_threads + 1).grid.x, 2U);
  EXPECT_EQ(launch_of_elements(nullptr, 1).threads, element_threads);
}

// CUDA's limits: 2^31 - 1 blocks along x, 65535 along y.
TEST(KernelLaunch, NoMatrixIsTooLargeForAGrid) {
  constexpr std::size_t huge = std::size_t{1} << 31U;
  EXPECT_LE(launch_of_elements(nullptr, huge).grid.x, 1024U);
  for (const std::size_t columns : {std::size_t{1}, std::size_t{1000}, huge}) {
    const KernelLaunch launch = launch_of_matrix(nullptr, huge, columns);
    EXPECT_LE(launch.grid.y, 65535U);
    EXPECT_GE(launch.grid.y, 1U);
    EXPECT_LE(launch.grid.x * launch.grid.y, 4096U);
  }
}

TEST(KernelLaunch, SmallMatricesHaveABlockPerRow) {
  const KernelLaunch launch = launch_of_matrix(nullptr, 7, 300);
  EXPECT_EQ(launch.grid.x, 2U);
  EXPECT_EQ(launch.grid.y, 7U);
}

}  // namespace
}  // namespace dualpipe
