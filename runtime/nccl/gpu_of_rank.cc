#include "runtime/nccl/gpu_of_rank.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <fstream>
#include <span>
#include <string>
#include <utility>

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

int gpu_of_rank(std::span<const std::string> hosts, int rank, int gpus) {
  CHECK(gpus > 0);
  const std::size_t own = static_cast<std::size_t>(rank);
  return static_cast<int>(std::ranges::count(hosts.first(own), hosts[own]) % gpus);
}

bool share_a_gpu(std::span<const ChosenGpu> gpus, bool may_share) {
  for (std::size_t rank = 0; rank < gpus.size(); ++rank) {
    const auto first = std::ranges::find(gpus, gpus[rank]) - gpus.begin();
    if (std::cmp_equal(first, rank)) {
      continue;
    }
    if (!may_share) {
      throw Error(
          ExitCode::usage,
          fmt::format("ranks {} and {} of one host have the same GPU, {}, and NCCL wants one "
                      "each; start fewer ranks there, use --transport cuda-inproc, or let "
                      "processes share with --share-gpus",
                      first, rank, gpus[rank].bus_id));
    }
    return true;
  }
  return false;
}

}  // namespace dualpipe
