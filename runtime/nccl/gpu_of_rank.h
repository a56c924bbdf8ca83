// Which GPU a rank takes. Inner part of nccl_transport.h.

#pragma once

#include <span>
#include <string>

namespace dualpipe {

// This host, told apart from others: its name and the kernel's boot.
[[nodiscard]] std::string host_identity();

// The number of the rank's GPU: its place among the ranks on its host, given the hosts of all ranks
// and how many GPUs the rank's own has. Throws Error (usage) when there are more ranks than GPUs
// there and they may not share; otherwise they go round.
struct GpuChoice {
  int rank = 0;
  int gpus = 1;
  bool share = false;
};
[[nodiscard]] int gpu_of_rank(std::span<const std::string> hosts, const GpuChoice& choice);

}  // namespace dualpipe
