// That batches, strides and transposes come out right is proved here by hand; the whole models in
// cuda_math_test.cc use all of them.

#include "runtime/cuda/cuda_products.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <span>
#include <vector>

#include <gtest/gtest.h>

#include "runtime/cuda/cuda_device.h"
#include "runtime/device.h"
#include "runtime/models/math.h"
#include "tests/support/needs_gpu.h"

namespace dualpipe {
namespace {

class CudaProductsTest : public NeedsGpu {
 protected:
  // Two pairs side by side: left 1x2 and right 2x2, right given transposed in rows of 5, result in
  // rows of 2. [1 2][5 6; 7 8] = [19 22] and [3 4][1 0; 0 1] = [3 4].
  static std::vector<float> multiply(ProductPrecision precision, float first) {
    CudaDevice device(0);
    CudaProducts products(device, device.stream(), precision);
    products.reserve(8);
    const std::array<float, 18> values{first, 2,   3,   4,       // left
                                       5,     7,   1,   0,  -1,  // right, transposed: rows of 5
                                       6,     8,   0,   1,  -1,  //
                                       100,   100, 100, 100};    // result
    const DeviceMemory host(device, sizeof values, MemoryHome::host);
    const DeviceMemory memory(device, sizeof values);
    std::ranges::copy(values, host.floats().begin());
    device.copy(host.bytes(), memory.bytes());
    float* const start = memory.floats().data();
    products.multiply(
        {.left = {.data = start, .rows = 1, .columns = 2, .stride = 2, .step = 2},
         .right = transposed({.data = start + 4, .rows = 2, .columns = 2, .stride = 5, .step = 2}),
         .scale = 2.0F,
         .keep = 1.0F,
         .count = 2},
        {.data = start + 14, .rows = 1, .columns = 2, .stride = 2, .step = 2});
    device.copy(memory.bytes(), host.bytes());
    device.reserve_marks(1);
    device.mark(0);
    EXPECT_TRUE(device.wait(0, std::chrono::steady_clock::now() + std::chrono::minutes(1)));
    const std::span<const float> result = host.floats().subspan(14);
    return {result.begin(), result.end()};
  }
};

TEST_F(CudaProductsTest, MultipliesABatchWithStridesByHand) {
  EXPECT_EQ(multiply(ProductPrecision::float32, 1.0F),
            (std::vector<float>{100 + 2 * 19, 100 + 2 * 22, 100 + 2 * 3, 100 + 2 * 4}));
}

// Small whole numbers are bfloat16 numbers; 1 + 2^-10 is not, and becomes 1.
TEST_F(CudaProductsTest, RoundsOperandsToBfloat16WhenAsked) {
  EXPECT_EQ(multiply(ProductPrecision::bfloat16, 1.0F + 0x1p-10F),
            multiply(ProductPrecision::float32, 1.0F));
  EXPECT_NE(multiply(ProductPrecision::float32, 1.0F + 0x1p-10F),
            multiply(ProductPrecision::float32, 1.0F));
}

}  // namespace
}  // namespace dualpipe
