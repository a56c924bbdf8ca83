// Models from the config.json that Hugging Face keeps beside a model's weights.

#pragma once

#include <string>
#include <string_view>

#include "costs/model.h"

namespace dualpipe {

// The model that `text` describes, complete; `origin` names the file in messages. Accepted are the
// model types deepseek_v2, deepseek_v3, gpt2, llama, mixtral, qwen2, qwen3 and qwen3_moe, as the
// Transformers library reads them, its defaults included. Keys that change no cost are passed over.
// Throws Error (usage), naming file, key, what was expected and found: not JSON, another model
// type, a key that is missing, of another type or out of range, or a feature whose costs
// ModelConfig cannot tell (sliding windows, attention biases, MoE layers in between dense ones).
[[nodiscard]] ModelConfig parse_huggingface(std::string_view text, const std::string& origin);

}  // namespace dualpipe
