// Whole setups for tests of derived costs.

#pragma once

#include "costs/layer_times.h"

namespace dualpipe {

// DeepSeek-V3's own training run: 16 pipeline ranks of 128 H800, experts over 64 GPUs and at most 4
// nodes; efficiencies fitted to its published profile, as in configs/deepseek_v3_h800.toml.
TrainingSetup deepseek_v3_on_h800();

// A machine of round numbers: 100 TFLOPS at full efficiency, 100 GB/s in a node of 8 and 10 GB/s
// between nodes without latency, and memory too fast to matter.
HardwareConfig round_machine();

}  // namespace dualpipe
