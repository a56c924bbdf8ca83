// A machine, in the words of a [hardware] table: how fast a GPU computes, and how fast GPUs talk to
// one another. G stands for 10^9, as on data sheets.

#pragma once

#include <string>
#include <vector>

#include "costs/config_check.h"

namespace dualpipe {

struct HardwareConfig {
  std::string name{};              // for people
  double peak_bf16_tflops = 0.0;   // dense, without structured sparsity
  double peak_fp8_tflops = 0.0;    // likewise; left out: no such unit
  std::string gemm_type = "bf16";  // of number_types, for products with parameters; core attention
                                   // and the output head are always bf16
  // What part of the peak an op reaches: one number; or a curve, as FLOP of the op, efficiency,
  // FLOP, efficiency, ... with rising FLOP, straight between points over the logarithm of FLOP and
  // level beyond them.
  std::vector<double> efficiency{0.5};
  std::vector<double> efficiency_forward{};  // left out, as all below: `efficiency`
  std::vector<double> efficiency_input{};
  std::vector<double> efficiency_weight{};
  std::vector<double> efficiency_head{};  // the output head's products; left out: as any others
  std::vector<double> efficiency_attention{};           // core attention, forward
  std::vector<double> efficiency_attention_backward{};  // core attention, backward
  double launch_us = 0.0;  // added to every piece of a layer: attention's products, its core, MLP
  int sms = 0;             // streaming multiprocessors; left out: nothing is taken from them
  int communication_sms = 0;  // of them, what communication kernels keep to themselves
  double memory_gb = 0.0;
  double memory_gb_per_s = 0.0;
  int gpus_per_node = 8;
  double node_gb_per_s = 0.0;  // of one GPU to the others of its node, each way
  double node_latency_us = 0.0;
  double network_gb_per_s = 0.0;  // of one GPU to other nodes, each way
  double network_latency_us = 0.0;
  // What part of both bandwidths messages reach. DeepSeek-V3's authors reckon with 160 of 200 GB/s
  // in a node and 40 of 50 between nodes ("Insights into DeepSeek-V3", ISCA 2025, section 4.3).
  double communication_efficiency = 0.8;

  // The part of a GPU that is left to compute.
  [[nodiscard]] double sm_share() const {
    return sms == 0 ? 1.0 : 1.0 - static_cast<double>(communication_sms) / sms;
  }
  [[nodiscard]] double gemm_tflops() const {
    return gemm_type == "fp8" ? peak_fp8_tflops : peak_bf16_tflops;
  }

  bool operator==(const HardwareConfig&) const = default;
};

// What each number may be whatever the others are, 0 where it may be left out.
struct HardwareRanges {
  static constexpr NumberRange speed{.largest = 1e9};  // peaks, bandwidths; also memory_gb
  static constexpr NumberRange latency_us{.largest = 1e6};
  static constexpr NumberRange sms{.largest = 100'000};  // also of communication_sms
  static constexpr NumberRange gpus_per_node{.least = 1, .largest = 100'000};
  static constexpr NumberRange part{.least = 1e-6, .largest = 1.0};  // of a peak or bandwidth
};

// Throws Error (usage): a number that is missing or out of range, an unknown word, or a list that
// is neither one efficiency nor a curve.
void require_hardware(const HardwareConfig& hardware);

// The part of the peak that an op of so many FLOP reaches; `own` where it is given, else `general`.
// Requires: lists that require_hardware() has accepted.
[[nodiscard]] double efficiency_at(const std::vector<double>& own,
                                   const std::vector<double>& general, double flops);

}  // namespace dualpipe
