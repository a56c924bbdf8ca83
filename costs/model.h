// The sizes of a transformer, in the words of a [model] table: what transformer.h counts FLOP,
// parameters and bytes from. A number of 0 and an empty text mean "left out".

#pragma once

#include <array>
#include <string>
#include <string_view>

#include "costs/config_check.h"

namespace dualpipe {

inline constexpr std::array<std::string_view, 2> attention_kinds{"gqa", "mla"};
inline constexpr std::array<std::string_view, 2> mlp_kinds{"swiglu", "gelu"};

struct ModelConfig {
  std::string name{};  // for people
  int layers = 0;      // decoder layers, without those that predict further tokens (mtp_layers)
  int hidden = 0;      // width of the residual stream
  int heads = 0;       // query heads
  int kv_heads = 0;    // key and value heads; left out: as many as heads
  int head_size = 0;   // left out: hidden / heads
  int ffn = 0;         // inner width of a dense MLP; left out only where every layer is MoE
  int vocabulary = 0;  // rows of the embedding and of the output head
  int positions = 0;   // rows of a learned position embedding; left out: rotary or none
  std::string attention = "gqa";  // of attention_kinds; "gqa" is also multi-head and multi-query
  // Multi-head latent attention alone (DeepSeek-V2, section 2.1):
  int q_lora = 0;           // rank of the query's projection; left out: one full matrix
  int kv_lora = 0;          // rank of the key's and value's projection
  int head_size_nope = 0;   // of a query or key head, the part without a position
  int head_size_rope = 0;   // of a query or key head, the part with one; one key part for all heads
  int head_size_value = 0;  // of a value head
  std::string mlp = "swiglu";  // of mlp_kinds: three matrices with a gate, or two without
  // Mixture of experts; left out: a dense model.
  int experts = 0;               // routed experts of a layer
  int experts_per_token = 0;     // routed experts that a token visits
  int shared_experts = 0;        // experts that every token visits besides
  int expert_ffn = 0;            // inner width of an expert
  int dense_layers = 0;          // the first so many layers have a dense MLP all the same
  int mtp_layers = 0;            // multi-token prediction modules (DeepSeek-V3, section 2.2)
  bool tied_embeddings = false;  // the output head is the embedding's matrix
  bool biases = false;    // every projection of attention and MLP, and every norm, adds a bias
  bool qkv_bias = false;  // queries, keys and values alone do (Qwen2)
  bool qk_norm = false;   // queries and keys are normalised head by head (Qwen3)
  bool dropout = false;   // masks are kept for the backward, as in the GPT-3 years
  bool causal = true;     // a token attends to those before it: half of the scores

  [[nodiscard]] bool is_moe(int layer) const { return experts > 0 && layer >= dense_layers; }

  bool operator==(const ModelConfig&) const = default;
};

// What each number may be whatever the others are, 0 where it may be left out. Far beyond every
// published model, and small enough that products of four stay exact enough.
struct ModelRanges {
  static constexpr NumberRange layers{.largest = 10'000};     // also of dense_layers
  static constexpr NumberRange heads{.largest = 10'000};      // also of kv_heads
  static constexpr NumberRange width{.largest = 1'000'000};   // of everything in a layer, per token
  static constexpr NumberRange rows{.largest = 100'000'000};  // of embeddings
  static constexpr NumberRange experts{.largest = 100'000};   // also of experts_per_token
  static constexpr NumberRange shared_experts{.largest = 1000};
  static constexpr NumberRange mtp_layers{.largest = 100};
};

// `model` with kv_heads and head_size worked out where they were left out. Every other function
// that takes a ModelConfig requires one that went through here.
// Throws Error (usage): a size that is missing, negative, beyond any model, or at odds with
// another.
[[nodiscard]] ModelConfig complete_model(ModelConfig model);

}  // namespace dualpipe
