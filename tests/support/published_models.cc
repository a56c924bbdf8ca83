#include "tests/support/published_models.h"

#include "costs/model.h"

namespace dualpipe {

ModelConfig deepseek_v3() {
  return complete_model({.name = "DeepSeek-V3",
                         .layers = 61,
                         .hidden = 7168,
                         .heads = 128,
                         .ffn = 18432,
                         .vocabulary = 129280,
                         .attention = "mla",
                         .q_lora = 1536,
                         .kv_lora = 512,
                         .head_size_nope = 128,
                         .head_size_rope = 64,
                         .head_size_value = 128,
                         .experts = 256,
                         .experts_per_token = 8,
                         .shared_experts = 1,
                         .expert_ffn = 2048,
                         .dense_layers = 3,
                         .mtp_layers = 1});
}

ModelConfig llama_3_8b() {
  return complete_model({.name = "Llama 3 8B",
                         .layers = 32,
                         .hidden = 4096,
                         .heads = 32,
                         .kv_heads = 8,
                         .ffn = 14336,
                         .vocabulary = 128256});
}

ModelConfig llama_3_70b() {
  return complete_model({.name = "Llama 3 70B",
                         .layers = 80,
                         .hidden = 8192,
                         .heads = 64,
                         .kv_heads = 8,
                         .ffn = 28672,
                         .vocabulary = 128256});
}

ModelConfig gpt_3() {
  return complete_model({.name = "GPT-3 175B",
                         .layers = 96,
                         .hidden = 12288,
                         .heads = 96,
                         .ffn = 49152,
                         .vocabulary = 50257,
                         .positions = 2048,
                         .mlp = "gelu",
                         .tied_embeddings = true,
                         .biases = true,
                         .dropout = true});
}

ModelConfig gpt_2() {
  return complete_model({.name = "GPT-2",
                         .layers = 12,
                         .hidden = 768,
                         .heads = 12,
                         .ffn = 3072,
                         .vocabulary = 50257,
                         .positions = 1024,
                         .mlp = "gelu",
                         .tied_embeddings = true,
                         .biases = true,
                         .dropout = true});
}

ModelConfig mixtral_8x7b() {
  return complete_model({.name = "Mixtral 8x7B",
                         .layers = 32,
                         .hidden = 4096,
                         .heads = 32,
                         .kv_heads = 8,
                         .vocabulary = 32000,
                         .experts = 8,
                         .experts_per_token = 2,
                         .expert_ffn = 14336});
}

ModelConfig qwen3_30b_a3b() {
  return complete_model({.name = "Qwen3-30B-A3B",
                         .layers = 48,
                         .hidden = 2048,
                         .heads = 32,
                         .kv_heads = 4,
                         .head_size = 128,
                         .vocabulary = 151936,
                         .experts = 128,
                         .experts_per_token = 8,
                         .expert_ffn = 768,
                         .qk_norm = true});
}

ModelConfig qwen3_235b_a22b() {
  return complete_model({.name = "Qwen3-235B-A22B",
                         .layers = 94,
                         .hidden = 4096,
                         .heads = 64,
                         .kv_heads = 4,
                         .head_size = 128,
                         .vocabulary = 151936,
                         .experts = 128,
                         .experts_per_token = 8,
                         .expert_ffn = 1536,
                         .qk_norm = true});
}

ModelConfig qwen2_7b() {
  return complete_model({.name = "Qwen2-7B",
                         .layers = 28,
                         .hidden = 3584,
                         .heads = 28,
                         .kv_heads = 4,
                         .ffn = 18944,
                         .vocabulary = 152064,
                         .qkv_bias = true});
}

}  // namespace dualpipe
