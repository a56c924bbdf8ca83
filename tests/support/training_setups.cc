#include "tests/support/training_setups.h"

#include "costs/hardware.h"
#include "costs/layer_times.h"
#include "tests/support/published_models.h"

namespace dualpipe {

TrainingSetup deepseek_v3_on_h800() {
  return {.model = deepseek_v3(),
          .parallel = {.expert = 64,
                       .data = 128,
                       .expert_nodes = 4,
                       .expert_imbalance = 1.0,
                       .dispatch_type = "fp8",
                       .activation_type = "fp8",
                       .recompute = "selective",
                       .layout = "Et*4|(t*4|)*14tmL"},
          .hardware = {.peak_bf16_tflops = 989.4,
                       .peak_fp8_tflops = 1978.9,
                       .gemm_type = "fp8",
                       .efficiency_forward = {0.37},
                       .efficiency_input = {0.28},
                       .efficiency_weight = {0.383},
                       .efficiency_head = {0.7},
                       .efficiency_attention = {0.65},
                       .efficiency_attention_backward = {0.55},
                       .sms = 132,
                       .communication_sms = 20,
                       .memory_gb = 80.0,
                       .memory_gb_per_s = 3350.0,
                       .node_gb_per_s = 200.0,
                       .network_gb_per_s = 50.0}};
}

HardwareConfig round_machine() {
  return {.peak_bf16_tflops = 100.0,
          .efficiency = {1.0},
          .memory_gb = 1000.0,
          .memory_gb_per_s = 1e9,
          .gpus_per_node = 8,
          .node_gb_per_s = 100.0,
          .network_gb_per_s = 10.0,
          .communication_efficiency = 1.0};
}

}  // namespace dualpipe
