// What an end does with its peers is tested through the transport; here what it says.

#include "runtime/nccl/nccl_end.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nccl.h>

namespace dualpipe {
namespace {

TEST(NcclEnd, ErrorsAreToldInNcclsWords) {
  EXPECT_THAT(describe(ncclInvalidUsage),
              testing::StartsWith(ncclGetErrorString(ncclInvalidUsage)));
}

}  // namespace
}  // namespace dualpipe
