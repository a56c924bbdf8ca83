// What a transformer costs before any machine is known: FLOP, parameters, and the bytes that a
// forward and an input-gradient half leave behind. A multiply-add is 2 FLOP. Everything is for one
// token on a GPU that holds the part whole; a GPU's share is that times its tokens (tokens()),
// divided by `tensor` (with sequence parallelism nothing is left undivided), and its routed experts
// divided by `expert` besides.
//
// FLOP follow Narayanan et al., "Efficient Large-Scale Language Model Training on GPU Clusters"
// (SC 2021) without its factor for recomputation; bytes follow Korthikanti et al., "Reducing
// Activation Recomputation in Large Transformer Models" (MLSys 2023), extended from its layer (as
// many key heads as query heads, ffn = 4 hidden, GELU) to the others by the same counting: bf16
// unless LayerTraining says otherwise, and nothing for norms' statistics, router scores and
// log-sum-exps, which are small.

#pragma once

#include <cstdint>

#include "costs/model.h"
#include "costs/parallel.h"

namespace dualpipe {

// A piece of a model: attention, MLP, embedding, output head.
struct Block {
  double gemm = 0.0;            // G, FLOP of a forward's products of a matrix with parameters
  double core_attention = 0.0;  // A, FLOP of a forward's products without: scores, weighted sums
  double attention_backward = 2.0;  // what the backward of A takes, in As: 4 products against 2, or
                                    // 5 where flash attention works the scores out again
  double recomputed_gemm = 0.0;     // of G, what a backward repeats
  double recomputed_attention = 0.0;  // of A
  double parameters = 0.0;            // all but routed experts
  double expert_parameters = 0.0;     // of routed experts, all of them
  double active_parameters = 0.0;     // of routed experts, those that a token visits
  double activation_bytes = 0.0;      // from the begin of a forward to its backward
  double operand_bytes = 0.0;  // from an input-gradient half to its weight-gradient half: the
                               // input and the output gradient of every matrix

  [[nodiscard]] double forward() const { return gemm + core_attention; }
  // I = G + 2.5 A + recompute (Dao, "FlashAttention-2", 2023, on the 2.5), W = G.
  [[nodiscard]] double backward_input() const {
    return gemm + attention_backward * core_attention + recomputed_gemm + recomputed_attention;
  }
  [[nodiscard]] double backward_weight() const { return gemm; }

  Block& operator+=(const Block& other);
};

enum class LayerKind : std::uint8_t { dense, moe };

struct LayerBlocks {
  Block attention;  // with the norm before it
  Block mlp;        // with the norm before it, and the router

  [[nodiscard]] Block total() const;
  // What a fully recomputed layer has in memory while its backward runs, beyond its input; once per
  // GPU, not for every microbatch. Bytes per token; 0 otherwise.
  double working_bytes = 0.0;
};

// How a layer is trained, as far as its FLOP and bytes go.
struct LayerTraining {
  int sequence = 4096;  // tokens that attention spans
  bool flash_attention = true;
  Recompute recompute = Recompute::none;
  // Of a value that is kept because a product reads it, or the activation function does; see
  // ParallelConfig::activation_type.
  double kept_bytes = 2.0;
};

// How `parallel` trains a layer with that recomputation.
[[nodiscard]] LayerTraining layer_training(const ParallelConfig& parallel, Recompute recompute);

// All of these require a model that complete_model() returned.
[[nodiscard]] LayerBlocks layer_blocks(const ModelConfig& model, LayerKind kind,
                                       const LayerTraining& training);
// Token and position embeddings.
[[nodiscard]] Block embedding_block(const ModelConfig& model);
// Final norm, output head and loss. A tied head has no parameters of its own here: on another stage
// than the embedding it is a copy, which transformer_totals() does not count.
[[nodiscard]] Block head_block(const ModelConfig& model);
// fp32 logits, bytes per token; beside head_block()'s activation_bytes.
[[nodiscard]] double logits_bytes(const ModelConfig& model);
// What a multi-token prediction module adds to a layer and an output head of its own accord: two
// norms and the product of [hidden state; embedding], 2 hidden wide, with a matrix (DeepSeek-V3,
// section 2.2). Its embedding and head are the model's.
[[nodiscard]] Block mtp_block(const ModelConfig& model, const LayerTraining& training);

// Of the whole model. As in the published counts of the models in configs/, embedding and output
// head are both counted (a tied pair once), prediction modules are not.
struct TransformerTotals {
  double parameters = 0.0;
  double active_parameters = 0.0;  // that a token meets
  double forward_gemm = 0.0;       // FLOP per token, output head included
  double forward_attention = 0.0;  // FLOP per token
  // Of one token's forward and backward, the latter counted as twice the former whatever is
  // recomputed: what "model FLOP utilisation" divides by time (Chowdhery et al., "PaLM", 2022,
  // appendix B).
  [[nodiscard]] double model_flops() const { return 3.0 * (forward_gemm + forward_attention); }
};
[[nodiscard]] TransformerTotals transformer_totals(const ModelConfig& model, int sequence);

}  // namespace dualpipe
