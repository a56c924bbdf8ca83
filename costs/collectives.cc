#include "costs/collectives.h"

#include <algorithm>
#include <cstdint>

#include "costs/hardware.h"
#include "costs/model.h"
#include "costs/parallel.h"

namespace dualpipe {
namespace {

constexpr double giga = 1e9;
constexpr double micro = 1e-6;

GpuGroup expert_group(const ParallelConfig& parallel) {
  return {.members = parallel.expert, .stride = parallel.tensor};
}

}  // namespace

MessageTime message_time(const HardwareConfig& hardware, bool in_node, double bytes) {
  const double bandwidth = giga * hardware.communication_efficiency *
                           (in_node ? hardware.node_gb_per_s : hardware.network_gb_per_s);
  const double latency = in_node ? hardware.node_latency_us : hardware.network_latency_us;
  return {.latency = micro * latency, .busy = bytes / bandwidth};
}

double ring_seconds(const HardwareConfig& hardware, GpuGroup group, double bytes) {
  const int in_node = static_cast<int>(
      std::clamp<std::int64_t>(hardware.gpus_per_node / group.stride, 1, group.members));
  const int nodes = (group.members + in_node - 1) / in_node;
  const auto steps = [&](int members, bool is_in_node, double whole) {
    return (members - 1) * message_time(hardware, is_in_node, whole / members).seconds();
  };
  return steps(in_node, true, bytes) + steps(nodes, false, bytes / in_node);
}

double expert_exchange_bytes(const ModelConfig& model, const ParallelConfig& parallel,
                             const HardwareConfig& hardware, double bytes_per_value) {
  if (model.experts == 0 || parallel.expert == 1) {
    return 0.0;
  }
  const GpuGroup group = expert_group(parallel);
  std::int64_t places = group.members;
  if (!group.in_node(hardware)) {
    const std::int64_t gpus = group.members * group.stride;
    const std::int64_t nodes = (gpus + hardware.gpus_per_node - 1) / hardware.gpus_per_node;
    places =
        parallel.expert_nodes == 0 ? nodes : std::min<std::int64_t>(nodes, parallel.expert_nodes);
  }
  const std::int64_t copies = std::min<std::int64_t>(model.experts_per_token, places);
  return parallel.tokens() / parallel.tensor * static_cast<double>(copies) * model.hidden *
         bytes_per_value;
}

double expert_exchange_seconds(const ModelConfig& model, const ParallelConfig& parallel,
                               const HardwareConfig& hardware, double bytes_per_value) {
  const double bytes = expert_exchange_bytes(model, parallel, hardware, bytes_per_value);
  if (bytes == 0.0) {
    return 0.0;
  }
  return message_time(hardware, expert_group(parallel).in_node(hardware),
                      parallel.expert_imbalance * bytes)
      .seconds();
}

}  // namespace dualpipe
