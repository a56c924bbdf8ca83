#include "runtime/exit_guard.h"

#include <cstdio>
#include <cstdlib>
#include <thread>

#include <gtest/gtest.h>
#include <unistd.h>

namespace dualpipe {
namespace {

void leave(int status) {
  std::fprintf(stderr, "called exit(%d)", status);
  ::_exit(88);
}

class ExitGuardDeathTest : public testing::Test {
 protected:
  void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

TEST_F(ExitGuardDeathTest, HearsOfAnExitWithItsStatus) {
  EXPECT_EXIT(
      {
        const ExitGuard guard(leave);
        std::exit(0);
      },
      testing::ExitedWithCode(88), "called exit\\(0\\)");
}

TEST_F(ExitGuardDeathTest, HearsOfOneOnAnotherThreadThanTheFirst) {
  EXPECT_EXIT(std::thread([] {
                const ExitGuard guard(leave);
                std::exit(7);
              }).join(),
              testing::ExitedWithCode(88), "called exit\\(7\\)");
}

TEST_F(ExitGuardDeathTest, LeavesOtherThreadsAndLaterExitsAlone) {
  EXPECT_EXIT(
      {
        {
          const ExitGuard guard(leave);
        }
        std::exit(5);
      },
      testing::ExitedWithCode(5), "^$");
  EXPECT_EXIT(
      {
        const ExitGuard guard(leave);
        std::thread([] { std::exit(6); }).join();
      },
      testing::ExitedWithCode(6), "^$");
}

}  // namespace
}  // namespace dualpipe
