#include "runtime/nccl/gpu_of_rank.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/error.h"
#include "tests/support/refusal.h"

namespace dualpipe {
namespace {

using testing::AllOf;
using testing::HasSubstr;

TEST(GpuOfRank, IsItsPlaceOnItsHost) {
  const std::vector<std::string> hosts{"a", "b", "a", "b", "b"};
  EXPECT_EQ(gpu_of_rank(hosts, {.rank = 0, .gpus = 3}), 0);
  EXPECT_EQ(gpu_of_rank(hosts, {.rank = 1, .gpus = 3}), 0);
  EXPECT_EQ(gpu_of_rank(hosts, {.rank = 2, .gpus = 3}), 1);
  EXPECT_EQ(gpu_of_rank(hosts, {.rank = 4, .gpus = 3}), 2);
}

TEST(GpuOfRank, MoreRanksThanGpusAreRefusedUnlessTheyMayShare) {
  const std::vector<std::string> hosts{"a", "a", "a"};
  EXPECT_THAT(
      refusal(ExitCode::usage, [&] { return gpu_of_rank(hosts, {.rank = 0, .gpus = 2}); }),
      AllOf(HasSubstr("3 ranks on one host"), HasSubstr("2 GPUs"), HasSubstr("--share-gpus")));
  EXPECT_EQ(gpu_of_rank(hosts, {.rank = 2, .gpus = 2, .share = true}), 0);
}

TEST(GpuOfRank, AHostIsItselfAndNotNameless) {
  EXPECT_EQ(host_identity(), host_identity());
  EXPECT_GT(host_identity().size(), 36U);  // a boot's identity, and a name
}

}  // namespace
}  // namespace dualpipe
