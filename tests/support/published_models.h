// Models with sizes from their own papers and model cards, for tests of what is counted from them.

#pragma once

#include "costs/model.h"

namespace dualpipe {

ModelConfig deepseek_v3();
ModelConfig llama_3_8b();
ModelConfig llama_3_70b();
ModelConfig gpt_3();
ModelConfig gpt_2();
ModelConfig mixtral_8x7b();
ModelConfig qwen3_30b_a3b();
ModelConfig qwen3_235b_a22b();
ModelConfig qwen2_7b();

}  // namespace dualpipe
