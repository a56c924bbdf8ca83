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
  EXPECT_EQ(gpu_of_rank(hosts, 0, 3), 0);
  EXPECT_EQ(gpu_of_rank(hosts, 1, 3), 0);
  EXPECT_EQ(gpu_of_rank(hosts, 2, 3), 1);
  EXPECT_EQ(gpu_of_rank(hosts, 4, 3), 2);
}

TEST(GpuOfRank, GoesRoundWhereThereAreFewer) {
  const std::vector<std::string> hosts{"a", "a", "a"};
  EXPECT_EQ(gpu_of_rank(hosts, 2, 2), 0);
  EXPECT_EQ(gpu_of_rank(hosts, 2, 1), 0);
}

// As srun --gpus-per-task=1 starts them: every process sees one GPU, and another one.
TEST(GpuOfRank, OtherGpusOfOneHostAreNotShared) {
  EXPECT_FALSE(
      share_a_gpu(std::vector<ChosenGpu>{{"a", "0000:01:00.0"}, {"a", "0000:02:00.0"}}, false));
  EXPECT_FALSE(
      share_a_gpu(std::vector<ChosenGpu>{{"a", "0000:01:00.0"}, {"b", "0000:01:00.0"}}, false));
}

TEST(GpuOfRank, OneGpuOfTwoRanksIsRefusedUnlessTheyMayShare) {
  const std::vector<ChosenGpu> gpus{
      {"a", "0000:01:00.0"}, {"a", "0000:02:00.0"}, {"a", "0000:01:00.0"}};
  EXPECT_THAT(
      refusal(ExitCode::usage, [&] { return share_a_gpu(gpus, false); }),
      AllOf(HasSubstr("ranks 0 and 2"), HasSubstr("0000:01:00.0"), HasSubstr("--share-gpus")));
  EXPECT_TRUE(share_a_gpu(gpus, true));
}

TEST(GpuOfRank, AHostIsItselfAndNotNameless) {
  EXPECT_EQ(host_identity(), host_identity());
  EXPECT_GT(host_identity().size(), 36U);  // a boot's identity, and a name
}

}  // namespace
}  // namespace dualpipe
