#include "costs/huggingface.h"

#include <random>
#include <string>
#include <string_view>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "costs/error.h"
#include "costs/model.h"
#include "tests/support/published_models.h"
#include "tests/support/refusal.h"

namespace dualpipe {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

// The keys that matter of the config.json beside each model's published weights, and some that do
// not.
constexpr std::string_view llama_8b = R"({
  "architectures": ["LlamaForCausalLM"], "attention_bias": false, "hidden_act": "silu",
  "hidden_size": 4096, "intermediate_size": 14336, "max_position_embeddings": 8192,
  "model_type": "llama", "num_attention_heads": 32, "num_hidden_layers": 32,
  "num_key_value_heads": 8, "pretraining_tp": 1, "rms_norm_eps": 1e-05, "rope_scaling": null,
  "tie_word_embeddings": false, "torch_dtype": "bfloat16", "vocab_size": 128256})";
constexpr std::string_view deepseek = R"({
  "attention_bias": false, "first_k_dense_replace": 3, "hidden_act": "silu", "hidden_size": 7168,
  "intermediate_size": 18432, "kv_lora_rank": 512, "model_type": "deepseek_v3",
  "moe_intermediate_size": 2048, "moe_layer_freq": 1, "n_group": 8, "n_routed_experts": 256,
  "n_shared_experts": 1, "num_attention_heads": 128, "num_experts_per_tok": 8,
  "num_hidden_layers": 61, "num_key_value_heads": 128, "num_nextn_predict_layers": 1,
  "q_lora_rank": 1536, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64,
  "tie_word_embeddings": false, "v_head_dim": 128, "vocab_size": 129280})";
constexpr std::string_view qwen3_moe = R"({
  "attention_bias": false, "decoder_sparse_step": 1, "head_dim": 128, "hidden_act": "silu",
  "hidden_size": 2048, "intermediate_size": 6144, "mlp_only_layers": [],
  "model_type": "qwen3_moe", "moe_intermediate_size": 768, "num_attention_heads": 32,
  "num_experts": 128, "num_experts_per_tok": 8, "num_hidden_layers": 48, "num_key_value_heads": 4,
  "sliding_window": null, "tie_word_embeddings": false, "use_sliding_window": false,
  "vocab_size": 151936})";
constexpr std::string_view mixtral = R"({
  "hidden_act": "silu", "hidden_size": 4096, "intermediate_size": 14336, "model_type": "mixtral",
  "num_attention_heads": 32, "num_experts_per_tok": 2, "num_hidden_layers": 32,
  "num_key_value_heads": 8, "num_local_experts": 8, "sliding_window": null,
  "tie_word_embeddings": false, "vocab_size": 32000})";
constexpr std::string_view qwen2 = R"({
  "hidden_act": "silu", "hidden_size": 3584, "intermediate_size": 18944, "model_type": "qwen2",
  "num_attention_heads": 28, "num_hidden_layers": 28, "num_key_value_heads": 4,
  "sliding_window": 131072, "tie_word_embeddings": false, "use_sliding_window": false,
  "vocab_size": 152064})";
constexpr std::string_view gpt2_small = R"({
  "activation_function": "gelu_new", "attn_pdrop": 0.1, "model_type": "gpt2", "n_ctx": 1024,
  "n_embd": 768, "n_head": 12, "n_layer": 12, "n_positions": 1024, "vocab_size": 50257})";

// `expected` but for its name, which is not the file's.
void expect_same(std::string_view text, ModelConfig expected) {
  const ModelConfig model = parse_huggingface(text, "config.json");
  expected.name = model.name;
  EXPECT_EQ(model, expected);
}

std::string refusal_of(std::string_view text) {
  return refusal(ExitCode::usage, [&] { return parse_huggingface(text, "dir/config.json"); });
}

// What is said to the file with one key changed; a null takes it away.
std::string refusal_with(std::string_view text, const std::string& key, const json& value) {
  json document = json::parse(text);
  document[key] = value;
  return refusal_of(document.dump());
}

TEST(ParseHuggingface, ReadsThePublishedModels) {
  expect_same(llama_8b, llama_3_8b());
  expect_same(deepseek, deepseek_v3());
  expect_same(qwen3_moe, qwen3_30b_a3b());
  expect_same(mixtral, mixtral_8x7b());
  expect_same(qwen2, qwen2_7b());
  expect_same(gpt2_small, gpt_2());
}

TEST(ParseHuggingface, TakesTheTypeForANameWhereThereIsNone) {
  EXPECT_EQ(parse_huggingface(llama_8b, "x").name, "llama");
  json document = json::parse(llama_8b);
  document["_name_or_path"] = "meta/Llama-3";
  EXPECT_EQ(parse_huggingface(document.dump(), "x").name, "meta/Llama-3");
}

TEST(ParseHuggingface, ReadsDenseLayersBeforeMoe) {
  json document = json::parse(qwen3_moe);
  document["mlp_only_layers"] = {0, 1};
  const ModelConfig model = parse_huggingface(document.dump(), "x");
  EXPECT_EQ(model.dense_layers, 2);
  EXPECT_EQ(model.ffn, 6144);
}

TEST(ParseHuggingface, ReadsTheDenseAndTheFullRankKindOfDeepSeek) {
  json document = json::parse(deepseek);
  document["model_type"] = "deepseek_v2";
  document["q_lora_rank"] = nullptr;
  document["n_routed_experts"] = nullptr;
  const ModelConfig model = parse_huggingface(document.dump(), "x");
  EXPECT_EQ(model.q_lora, 0);
  EXPECT_EQ(model.experts, 0);
  EXPECT_EQ(model.ffn, 18432);
}

TEST(ParseHuggingface, NamesTheTypesItKnows) {
  EXPECT_THAT(refusal_with(llama_8b, "model_type", "lama"),
              AllOf(StartsWith("dir/config.json: key 'model_type': expected one of deepseek_v2, "),
                    HasSubstr("found \"lama\" (did you mean 'llama'?)")));
  EXPECT_THAT(refusal_with(llama_8b, "model_type", nullptr), HasSubstr("found no such key"));
  EXPECT_THAT(refusal_with(llama_8b, "model_type", 3), HasSubstr("expected a text, found 3"));
}

TEST(ParseHuggingface, RefusesKeysThatAreMissingOrWrong) {
  EXPECT_THAT(refusal_with(llama_8b, "hidden_size", nullptr),
              StartsWith("dir/config.json: key 'hidden_size': expected a whole number from 1, "
                         "found no such key; "));
  for (const json& bad : {json(-1), json(0), json(4096.5), json("4096"), json(true), json::array(),
                          json(100'000'001), json(18446744073709551615ULL)}) {
    EXPECT_THAT(refusal_with(llama_8b, "hidden_size", bad),
                AllOf(StartsWith("dir/config.json: key 'hidden_size': expected a whole number"),
                      HasSubstr("from 1 to 100000000, found ")));
  }
  EXPECT_THAT(refusal_with(llama_8b, "tie_word_embeddings", 1),
              HasSubstr("key 'tie_word_embeddings': expected true or false, found 1"));
  EXPECT_THAT(refusal_with(llama_8b, "num_key_value_heads", -8),
              HasSubstr("expected a whole number from 0 to 100000000, found -8"));
}

// What the whole model refuses is said with the file's name in front.
TEST(ParseHuggingface, RefusesSizesAtOddsWithOneAnother) {
  EXPECT_THAT(refusal_with(llama_8b, "num_key_value_heads", 5),
              StartsWith("dir/config.json: model.kv_heads: expected a divisor"));
  EXPECT_THAT(refusal_with(llama_8b, "num_hidden_layers", 20'000),
              StartsWith("dir/config.json: model.layers: "));
  EXPECT_THAT(refusal_with(gpt2_small, "n_embd", 99'999'999),
              StartsWith("dir/config.json: model.hidden: "));
}

TEST(ParseHuggingface, RefusesWhatItCannotCost) {
  EXPECT_THAT(refusal_with(llama_8b, "hidden_act", "gelu"), HasSubstr("key 'hidden_act'"));
  EXPECT_THAT(refusal_with(llama_8b, "attention_bias", true), HasSubstr("key 'attention_bias'"));
  EXPECT_THAT(refusal_with(llama_8b, "mlp_bias", true), HasSubstr("key 'mlp_bias'"));
  EXPECT_THAT(refusal_with(mixtral, "sliding_window", 4096), HasSubstr("key 'sliding_window'"));
  EXPECT_THAT(refusal_with(qwen2, "use_sliding_window", true), HasSubstr("key 'sliding_window'"));
  EXPECT_THAT(refusal_with(qwen3_moe, "decoder_sparse_step", 2), HasSubstr("expected 1, found 2"));
  EXPECT_THAT(refusal_with(qwen3_moe, "mlp_only_layers", {5}), HasSubstr("the first layers"));
  EXPECT_THAT(refusal_with(qwen3_moe, "mlp_only_layers", "none"), HasSubstr("the first layers"));
  EXPECT_THAT(refusal_with(deepseek, "moe_layer_freq", 2), HasSubstr("expected 1, found 2"));
}

TEST(ParseHuggingface, RefusesWhatIsNoJsonObject) {
  for (const std::string_view text : {"", "{", "[1, 2]", "null", "\xff\xfe", "{\"a\": 1e999}"}) {
    EXPECT_THAT(refusal_of(text), StartsWith("dir/config.json: ")) << text;
  }
}

// Every file with a few of its bytes changed is read or refused, and nothing else.
TEST(ParseHuggingface, SurvivesDamage) {
  std::mt19937 random(5);
  for (int trial = 0; trial < 2000; ++trial) {
    std::string text(trial % 2 == 0 ? deepseek : qwen3_moe);
    for (int change = 0; change < 3; ++change) {
      text[random() % text.size()] = static_cast<char>(random() % 256);
    }
    try {
      EXPECT_GE(parse_huggingface(text, "x").layers, 1);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::usage);
    }
  }
}

}  // namespace
}  // namespace dualpipe
