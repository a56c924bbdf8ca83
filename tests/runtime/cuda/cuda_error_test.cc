#include "runtime/cuda/cuda_error.h"

#include <driver_types.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/error.h"
#include "tests/support/refusal.h"

namespace dualpipe {
namespace {

using testing::AllOf;
using testing::HasSubstr;

TEST(CudaError, TellsWhatWasBeingDoneAndCudasWords) {
  EXPECT_EQ(describe(cudaErrorInvalidValue, "copying"),
            "copying: invalid argument (cudaErrorInvalidValue)");
}

TEST(CudaError, IsThrownForAnythingButSuccess) {
  EXPECT_NO_THROW(require(cudaSuccess, "copying"));
  const auto fails = [] {
    require(cudaErrorIllegalAddress, "copying");
    return 0;
  };
  EXPECT_THAT(refusal(ExitCode::callback, fails),
              AllOf(HasSubstr("GPU"), HasSubstr("cudaErrorIllegalAddress")));
}

}  // namespace
}  // namespace dualpipe
