#include "costs/check.h"

#include <gtest/gtest.h>

namespace dualpipe {
namespace {

TEST(Check, HoldsItsTongueWhenTheConditionHolds) {
  const int evaluated = 1;
  CHECK(evaluated == 1);
}

TEST(CheckDeathTest, StopsAndSaysWhereAndWhat) {
  const int one = 1;
  EXPECT_DEATH(CHECK(one == 2), "check_test.cc:[0-9]+: CHECK\\(one == 2\\) failed");
}

}  // namespace
}  // namespace dualpipe
