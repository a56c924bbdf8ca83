// What messages between GPUs take: a transfer, a ring over a group, tokens on their way to experts.
// Seconds here; derive.h makes whole nanoseconds of them.

#pragma once

#include <cstdint>

#include "costs/hardware.h"
#include "costs/model.h"
#include "costs/parallel.h"

namespace dualpipe {

// Members are `stride` GPU numbers apart; a node has consecutive numbers.
struct GpuGroup {
  int members = 1;
  std::int64_t stride = 1;

  [[nodiscard]] bool in_node(const HardwareConfig& hardware) const {
    return members * stride <= hardware.gpus_per_node;
  }
};

// A message between two GPUs: what it takes before the first byte, and how long it then keeps the
// wire.
struct MessageTime {
  double latency = 0.0;
  double busy = 0.0;

  [[nodiscard]] double seconds() const { return latency + busy; }
};
[[nodiscard]] MessageTime message_time(const HardwareConfig& hardware, bool in_node, double bytes);

// A reduce-scatter or an all-gather over rings, of `bytes` before the one and after the other:
// every GPU sends (n - 1) / n of them (Thakur et al., "Optimization of Collective Communication
// Operations in MPICH", 2005). A group over several nodes goes through each node first, so that a
// GPU sends its node's share of the bytes to the other nodes. An all-reduce is one of each.
[[nodiscard]] double ring_seconds(const HardwareConfig& hardware, GpuGroup group, double bytes);

// Tokens to their routed experts, or back: how much a GPU sends if every expert has as much to do.
// A token goes once to every node that has one of its experts, and once to every GPU where the
// group is in one node: tokens * min(k, nodes) * hidden * bytes of a value, as DeepSeek-V3's
// section 3.2.2 limits it. That some of them stay where they are is not taken off.
[[nodiscard]] double expert_exchange_bytes(const ModelConfig& model, const ParallelConfig& parallel,
                                           const HardwareConfig& hardware, double bytes_per_value);

// The same in time, on the GPU that has most to send (expert_imbalance). 0 where there is no one to
// send to.
[[nodiscard]] double expert_exchange_seconds(const ModelConfig& model,
                                             const ParallelConfig& parallel,
                                             const HardwareConfig& hardware,
                                             double bytes_per_value);

}  // namespace dualpipe
