// Which GPU a rank takes. Inner part of nccl_transport.h.

#pragma once

#include <span>
#include <string>

namespace dualpipe {

// This host, told apart from others: its name and the kernel's boot.
[[nodiscard]] std::string host_identity();

// The number of the rank's GPU among the `gpus` that its process may use: its place among the ranks
// on its host, round and round. Where a launcher gives every process a GPU of its own, that is 0
// for all. Requires: gpus > 0.
[[nodiscard]] int gpu_of_rank(std::span<const std::string> hosts, int rank, int gpus);

// The GPU that a rank has chosen, by names that are the same for all processes of its host.
struct ChosenGpu {
  std::string host;    // host_identity()
  std::string bus_id;  // CudaDevice::bus_id()

  bool operator==(const ChosenGpu&) const = default;
};
// Whether two ranks have one GPU; `gpus` are all ranks'. Throws Error (usage) naming two that have,
// unless they may.
[[nodiscard]] bool share_a_gpu(std::span<const ChosenGpu> gpus, bool may_share);

}  // namespace dualpipe
