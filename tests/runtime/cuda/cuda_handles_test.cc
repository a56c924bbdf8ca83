#include "runtime/cuda/cuda_handles.h"

#include <chrono>
#include <utility>

#include <gtest/gtest.h>

#include "runtime/cuda/cuda_device.h"
#include "tests/support/needs_gpu.h"

namespace dualpipe {
namespace {

class CudaHandles : public NeedsGpu {};

// Bounded, for an event that never happens.
bool happens(const CudaEvent& event) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!event.happened()) {
    if (std::chrono::steady_clock::now() > deadline) {
      return false;
    }
  }
  return true;
}

TEST_F(CudaHandles, AnEventPassesFromStreamToStream) {
  const CudaDevice device(0);
  const CudaStream stream;
  const CudaEvent first;
  const CudaEvent second;
  first.record(device.stream());
  first.hold_back(stream.get());
  second.record(stream.get());
  EXPECT_TRUE(happens(second));
  EXPECT_TRUE(first.happened());
  EXPECT_TRUE(stream.is_idle());
}

TEST_F(CudaHandles, AnEventThatWasNeverSetHoldsNothingBack) {
  const CudaDevice device(0);
  const CudaStream stream;
  const CudaEvent never;
  CudaEvent behind;
  never.hold_back(stream.get());
  behind.record(stream.get());
  const CudaEvent moved = std::move(behind);
  EXPECT_TRUE(happens(moved));
}

}  // namespace
}  // namespace dualpipe
