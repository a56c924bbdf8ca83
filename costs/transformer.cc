#include "costs/transformer.h"

#include "costs/model.h"
#include "costs/parallel.h"

namespace dualpipe {
namespace {

constexpr double bf16 = 2.0;  // bytes
constexpr double fp32 = 4.0;  // bytes

// A product of a vector `from` wide with a matrix that has a bias or not.
double matrix_parameters(double from, double to, bool has_bias) {
  return from * to + (has_bias ? to : 0.0);
}

// RMSNorm has a scale, LayerNorm a bias besides.
double norm_parameters(const ModelConfig& model, double width) {
  return model.biases ? 2.0 * width : width;
}

// Products of queries with keys and of scores with values: 2 FLOP each per head, position and
// width of a head. The causal mask leaves half of the positions.
double core_attention_flops(const ModelConfig& model, int sequence) {
  const double query =
      model.attention == "mla" ? model.head_size_nope + model.head_size_rope : model.head_size;
  const double value = model.attention == "mla" ? model.head_size_value : model.head_size;
  const double positions = model.causal ? 0.5 * sequence : sequence;
  return 2.0 * model.heads * positions * (query + value);
}

// Softmax output, its dropout mask and what dropout lets through: 5 heads * sequence bytes
// (Korthikanti et al., equation 1); without dropout the first alone.
double score_bytes(const ModelConfig& model, int sequence) {
  return (model.dropout ? 2.0 * bf16 + 1.0 : bf16) * model.heads * sequence;
}

double mask_bytes(const ModelConfig& model) {
  return model.dropout ? model.hidden : 0.0;
}

Block grouped_attention(const ModelConfig& model, double kept) {
  const double h = model.hidden;
  const double queries = static_cast<double>(model.heads) * model.head_size;
  const double keys = static_cast<double>(model.kv_heads) * model.head_size;  // and values
  const bool qkv_bias = model.biases || model.qkv_bias;
  Block block;
  block.gemm = 2.0 * (h * queries + 2.0 * h * keys + queries * h);
  block.parameters = matrix_parameters(h, queries + 2.0 * keys, qkv_bias) +
                     matrix_parameters(queries, h, model.biases) +
                     (model.qk_norm ? 2.0 * model.head_size : 0.0) + norm_parameters(model, h);
  // Input of the norm and of the projections, queries, keys and values, input of the last one.
  block.activation_bytes =
      bf16 * (h + queries + 2.0 * keys) + kept * (h + queries) + mask_bytes(model);
  block.operand_bytes = kept * ((h + queries) + (queries + 2.0 * keys + h));
  return block;
}

Block latent_attention(const ModelConfig& model, const LayerTraining& training) {
  const double kept = training.kept_bytes;
  const double h = model.hidden;
  const double q_rank = model.q_lora;
  const double kv_rank = model.kv_lora;
  const double rope = model.head_size_rope;
  const double heads = model.heads;
  const double queries = heads * (model.head_size_nope + rope);
  const double values = heads * model.head_size_value;
  const double key_values = heads * model.head_size_nope + values;  // from the latent vector
  const double up = (model.q_lora > 0 ? q_rank * queries : 0.0) + kv_rank * key_values;
  const double down = (model.q_lora > 0 ? h * q_rank : h * queries) + h * (kv_rank + rope);
  Block block;
  block.gemm = 2.0 * (down + up + values * h);
  block.parameters = down + up + values * h + q_rank + kv_rank + norm_parameters(model, h);
  const double latents = q_rank + kv_rank;
  // Inputs of the norms and of the last projection.
  block.activation_bytes = bf16 * (h + latents + rope) + kept * values + mask_bytes(model);
  if (training.recompute == Recompute::selective) {
    block.recomputed_gemm = 2.0 * up;
  } else {
    // Outputs of the norms, queries, keys (every head with its copy of the rotary part) and values.
    block.activation_bytes += kept * (h + latents) + bf16 * (2.0 * queries + values);
  }
  const double query_gradients = model.q_lora > 0 ? q_rank + queries : queries;
  block.operand_bytes =
      kept * ((h + latents + values) + (query_gradients + kv_rank + rope + key_values + h));
  return block;
}

Block attention_block(const ModelConfig& model, const LayerTraining& training) {
  const bool is_selective = training.recompute == Recompute::selective;
  Block block = model.attention == "mla" ? latent_attention(model, training)
                                         : grouped_attention(model, training.kept_bytes);
  block.core_attention = core_attention_flops(model, training.sequence);
  block.attention_backward = training.flash_attention ? 2.5 : 2.0;
  if (!training.flash_attention && is_selective) {
    block.recomputed_attention = block.core_attention;
  } else if (!training.flash_attention) {
    block.activation_bytes += score_bytes(model, training.sequence);
  }
  return block;
}

// Values of an MLP `width` wide, inside: inputs of the activation function, and its output.
double inner_values(const ModelConfig& model, double width, bool keeps_product) {
  const double inputs = model.mlp == "swiglu" ? 2.0 : 1.0;
  return (inputs + (keeps_product ? 1.0 : 0.0)) * width;
}

double inner_matrices(const ModelConfig& model) {
  return model.mlp == "swiglu" ? 3.0 : 2.0;
}

double mlp_parameters(const ModelConfig& model, double width) {
  const double h = model.hidden;
  return matrix_parameters(h, (inner_matrices(model) - 1.0) * width, model.biases) +
         matrix_parameters(width, h, model.biases);
}

Block mlp_block(const ModelConfig& model, LayerKind kind, const LayerTraining& training) {
  const double h = model.hidden;
  const double kept = training.kept_bytes;
  const bool is_lean = training.recompute == Recompute::selective && model.attention == "mla";
  const double matrices = inner_matrices(model);
  const auto inner_operands = [&](double width) { return kept * matrices * width; };
  Block block;
  block.parameters = norm_parameters(model, h);
  // Input of the norm; its output too, unless that is recomputed.
  block.activation_bytes = bf16 * h + (is_lean ? 0.0 : kept * h) + mask_bytes(model);
  block.operand_bytes = kept * 2.0 * h;
  if (kind == LayerKind::dense) {
    block.gemm = 2.0 * matrices * h * model.ffn;
    block.parameters += mlp_parameters(model, model.ffn);
    block.activation_bytes += kept * inner_values(model, model.ffn, !is_lean);
    block.operand_bytes += inner_operands(model.ffn);
    return block;
  }
  const double width = model.expert_ffn;
  const double routed = model.experts_per_token;
  const double shared = model.shared_experts;
  block.gemm = 2.0 * matrices * h * width * (routed + shared) + 2.0 * h * model.experts;
  block.parameters += shared * mlp_parameters(model, width) + h * model.experts;
  block.expert_parameters = model.experts * mlp_parameters(model, width);
  block.active_parameters = routed * mlp_parameters(model, width);
  // Every routed expert gets a copy of the token; the shared ones and the router read the norm's.
  block.activation_bytes +=
      kept * (routed * h + (routed + shared) * inner_values(model, width, !is_lean));
  block.operand_bytes +=
      routed * kept * 2.0 * h + (routed + shared) * inner_operands(width) + bf16 * model.experts;
  return block;
}

}  // namespace

Block& Block::operator+=(const Block& other) {
  gemm += other.gemm;
  core_attention += other.core_attention;
  if (other.core_attention > 0.0) {
    attention_backward = other.attention_backward;
  }
  recomputed_gemm += other.recomputed_gemm;
  recomputed_attention += other.recomputed_attention;
  parameters += other.parameters;
  expert_parameters += other.expert_parameters;
  active_parameters += other.active_parameters;
  activation_bytes += other.activation_bytes;
  operand_bytes += other.operand_bytes;
  return *this;
}

Block LayerBlocks::total() const {
  Block sum = attention;
  sum += mlp;
  return sum;
}

LayerTraining layer_training(const ParallelConfig& parallel, Recompute recompute) {
  return {.sequence = parallel.sequence,
          .flash_attention = parallel.flash_attention,
          .recompute = recompute,
          .kept_bytes = value_bytes(parallel.activation_type)};
}

LayerBlocks layer_blocks(const ModelConfig& model, LayerKind kind, const LayerTraining& training) {
  LayerBlocks layer{.attention = attention_block(model, training),
                    .mlp = mlp_block(model, kind, training)};
  if (training.recompute == Recompute::full) {
    const double input = bf16 * model.hidden;
    for (Block* block : {&layer.attention, &layer.mlp}) {
      block->recomputed_gemm = block->gemm;
      block->recomputed_attention = block->core_attention;
    }
    layer.working_bytes = layer.total().activation_bytes - input;
    layer.attention.activation_bytes = input;
    layer.mlp.activation_bytes = 0.0;
  }
  return layer;
}

Block embedding_block(const ModelConfig& model) {
  constexpr double token_id = 8.0;  // bytes
  Block block;
  block.parameters = (static_cast<double>(model.vocabulary) + model.positions) * model.hidden;
  block.activation_bytes = token_id + mask_bytes(model);
  return block;
}

Block head_block(const ModelConfig& model) {
  const double h = model.hidden;
  const double vocabulary = model.vocabulary;
  Block block;
  block.gemm = 2.0 * h * vocabulary;
  block.parameters = norm_parameters(model, h) + (model.tied_embeddings ? 0.0 : h * vocabulary);
  block.activation_bytes = bf16 * 2.0 * h;  // inputs of norm and head
  block.operand_bytes = bf16 * (h + vocabulary);
  return block;
}

double logits_bytes(const ModelConfig& model) {
  return fp32 * model.vocabulary;
}

Block mtp_block(const ModelConfig& model, const LayerTraining& training) {
  const double h = model.hidden;
  Block block;
  block.gemm = 2.0 * 2.0 * h * h;
  block.parameters = 2.0 * h * h + 2.0 * norm_parameters(model, h);
  block.activation_bytes =
      (bf16 + training.kept_bytes) * 2.0 * h;  // inputs of both norms and of the product
  block.operand_bytes = training.kept_bytes * (2.0 * h + h);
  return block;
}

TransformerTotals transformer_totals(const ModelConfig& model, int sequence) {
  Block sum = embedding_block(model);
  sum += head_block(model);
  const LayerTraining training{.sequence = sequence};
  for (int layer = 0; layer < model.layers; ++layer) {
    const LayerKind kind = model.is_moe(layer) ? LayerKind::moe : LayerKind::dense;
    sum += layer_blocks(model, kind, training).total();
  }
  return {.parameters = sum.parameters + sum.expert_parameters,
          .active_parameters = sum.parameters + sum.active_parameters,
          .forward_gemm = sum.gemm,
          .forward_attention = sum.core_attention};
}

}  // namespace dualpipe
