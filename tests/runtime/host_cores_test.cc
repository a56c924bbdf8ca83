#include "runtime/host_cores.h"

#include <bit>
#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace dualpipe {
namespace {

// What the kernel writes for people: "Cpus_allowed:\tff,ffffffff", in hexadecimal digits.
int cores_by_proc() {
  std::ifstream status("/proc/thread-self/status");
  int count = 0;
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("Cpus_allowed:")) {
      for (const char digit : line.substr(line.find('\t') + 1)) {
        count += digit == ',' ? 0 : std::popcount(std::stoul(std::string(1, digit), nullptr, 16));
      }
    }
  }
  return count;
}

TEST(HostCores, AreThoseThatTheKernelNames) {
  EXPECT_GT(cores_by_proc(), 0);
  EXPECT_EQ(count_cores(own_cores()), cores_by_proc());
}

// Of a host with more cores than the first mask has room for.
TEST(HostCores, AreAskedForWithALargerMaskUntilAllFit) {
  EXPECT_EQ(count_cores(own_cores(0)), cores_by_proc());
}

TEST(HostCores, AreCountedInEveryWord) {
  EXPECT_EQ(count_cores({}), 0);
  EXPECT_EQ(count_cores({0b101, 0, ~0UL}), 2 + 64);
}

}  // namespace
}  // namespace dualpipe
