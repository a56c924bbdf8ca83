#include "runtime/nccl/gpu_of_rank.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <fstream>
#include <span>
#include <string>

#include <fmt/core.h>
#include <unistd.h>

#include "costs/check.h"
#include "costs/error.h"

namespace dualpipe {

// Containers of one host have names of their own, and GPUs of their own; hosts may share a name.
std::string host_identity() {
  std::array<char, 256> name{};
  CHECK(::gethostname(name.data(), name.size() - 1) == 0);
  std::string boot;
  std::getline(std::ifstream("/proc/sys/kernel/random/boot_id"), boot);
  return std::string(name.data()) + " " + boot;
}

int gpu_of_rank(std::span<const std::string> hosts, const GpuChoice& choice) {
  const std::size_t own = static_cast<std::size_t>(choice.rank);
  const auto before = std::ranges::count(hosts.first(own), hosts[own]);
  const auto all = std::ranges::count(hosts, hosts[own]);
  if (all > choice.gpus && !choice.share) {
    throw Error(ExitCode::usage,
                fmt::format("{} ranks on one host, but it has {} GPUs, and NCCL wants one each; "
                            "start fewer ranks there, use --transport cuda-inproc, or let "
                            "processes share with --share-gpus",
                            all, choice.gpus));
  }
  return static_cast<int>(before) % choice.gpus;
}

}  // namespace dualpipe
