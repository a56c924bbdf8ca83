#include "costs/hardware.h"

#include <array>
#include <cmath>
#include <cstddef>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "costs/check.h"
#include "costs/config_check.h"
#include "costs/parallel.h"

namespace dualpipe {
namespace {

using Ranges = HardwareRanges;

constexpr NumberRange positive = Ranges::speed.from(1e-6);

void check_efficiency(const ConfigCheck& check, std::string_view key,
                      const std::vector<double>& list) {
  if (list.size() == 1) {
    check.number(key, list.front(), Ranges::part);
    return;
  }
  if (list.size() % 2 != 0) {
    check.refuse(key, {.expected = "one efficiency, or pairs of FLOP and efficiency",
                       .found = fmt::format("{} numbers", list.size()),
                       .remedy = "write for example [1e9, 0.2, 1e12, 0.6]"});
  }
  for (std::size_t index = 0; index < list.size(); index += 2) {
    check.number(key, list[index], {.least = 1.0, .largest = 1e30});
    check.number(key, list[index + 1], Ranges::part);
    if (index > 0 && list[index] <= list[index - 2]) {
      check.refuse(key, {.expected = "FLOP that rise from point to point",
                         .found = fmt::format("{:g} after {:g}", list[index], list[index - 2]),
                         .remedy = "sort the points"});
    }
  }
}

}  // namespace

void require_hardware(const HardwareConfig& hardware) {
  const ConfigCheck check("hardware");
  check.word("gemm_type", hardware.gemm_type, number_types);
  check.number("peak_bf16_tflops", hardware.peak_bf16_tflops, positive);
  check.number("peak_fp8_tflops", hardware.peak_fp8_tflops,
               hardware.gemm_type == "fp8" ? positive : Ranges::speed);
  if (hardware.efficiency.empty()) {
    check.refuse("efficiency", {.expected = "one efficiency, or pairs of FLOP and efficiency",
                                .found = "none",
                                .remedy = "write for example 0.5"});
  }
  const std::array<std::pair<std::string_view, const std::vector<double>*>, 7> curves{
      {{"efficiency", &hardware.efficiency},
       {"efficiency_forward", &hardware.efficiency_forward},
       {"efficiency_input", &hardware.efficiency_input},
       {"efficiency_weight", &hardware.efficiency_weight},
       {"efficiency_head", &hardware.efficiency_head},
       {"efficiency_attention", &hardware.efficiency_attention},
       {"efficiency_attention_backward", &hardware.efficiency_attention_backward}}};
  for (const auto& [key, list] : curves) {
    check_efficiency(check, key, *list);
  }
  check.number("launch_us", hardware.launch_us, Ranges::latency_us);
  check.whole("sms", hardware.sms, Ranges::sms);
  check.whole("communication_sms", hardware.communication_sms,
              {.least = 0, .largest = hardware.sms == 0 ? 0.0 : hardware.sms - 1.0});
  check.number("memory_gb", hardware.memory_gb, positive);
  check.number("memory_gb_per_s", hardware.memory_gb_per_s, positive);
  check.whole("gpus_per_node", hardware.gpus_per_node, Ranges::gpus_per_node);
  check.number("node_gb_per_s", hardware.node_gb_per_s, positive);
  check.number("node_latency_us", hardware.node_latency_us, Ranges::latency_us);
  check.number("network_gb_per_s", hardware.network_gb_per_s, positive);
  check.number("network_latency_us", hardware.network_latency_us, Ranges::latency_us);
  check.number("communication_efficiency", hardware.communication_efficiency, Ranges::part);
}

double efficiency_at(const std::vector<double>& own, const std::vector<double>& general,
                     double flops) {
  const std::vector<double>& list = own.empty() ? general : own;
  CHECK(!list.empty());
  if (list.size() == 1) {
    return list.front();
  }
  if (flops <= list.front()) {
    return list[1];
  }
  for (std::size_t index = 2; index < list.size(); index += 2) {
    if (flops <= list[index]) {
      const double way =
          std::log(flops / list[index - 2]) / std::log(list[index] / list[index - 2]);
      return list[index - 1] + way * (list[index + 1] - list[index - 1]);
    }
  }
  return list.back();
}

}  // namespace dualpipe
