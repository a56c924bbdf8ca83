#include "runtime/last_resort.h"

#include <array>
#include <chrono>
#include <string>
#include <thread>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "costs/error.h"

namespace dualpipe {
namespace {

using std::chrono::milliseconds;

constexpr std::chrono::seconds generous{60};

class LastResortDeathTest : public testing::Test {
 protected:
  void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

TEST_F(LastResortDeathTest, EndsAProcessThatIsStuck) {
  EXPECT_EXIT(
      {
        const LastResort timer(milliseconds(20), ExitCode::timeout, "the report got stuck");
        std::this_thread::sleep_for(generous);
      },
      testing::ExitedWithCode(86), "the report got stuck");
}

// Makes stderr a pipe that nobody reads and that is full: a write would block for ever.
void fill_stderr() {
  std::array<int, 2> pipe{};
  if (::pipe2(pipe.data(), O_NONBLOCK) != 0) {
    ::_exit(1);
  }
  const std::string much(65536, 'x');
  while (::write(pipe[1], much.data(), much.size()) > 0) {
  }
  ::fcntl(pipe[1], F_SETFL, 0);
  ::dup2(pipe[1], STDERR_FILENO);
}

TEST_F(LastResortDeathTest, EndsItThoughStderrIsStuckToo) {
  EXPECT_EXIT(
      {
        fill_stderr();
        const LastResort timer(milliseconds(20), ExitCode::timeout, "the report got stuck");
        std::this_thread::sleep_for(generous);
      },
      testing::ExitedWithCode(86), "^$");
}

TEST(LastResort, DoesNothingWhenItIsDestroyedInTime) {
  const auto begin = std::chrono::steady_clock::now();
  {
    const LastResort timer(generous, ExitCode::timeout, "never said");
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, generous / 2);
}

}  // namespace
}  // namespace dualpipe
