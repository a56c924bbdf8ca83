#include "costs/huggingface.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "costs/error.h"
#include "costs/model.h"

namespace dualpipe {
namespace {

using nlohmann::json;

// Reads one config.json, key by key. A key that is null counts as left out, as it does there.
class ConfigReader {
 public:
  ConfigReader(const json& object, const std::string& origin) : object_(object), origin_(origin) {}

  [[noreturn]] void refuse(const char* key, const std::string& expected, const std::string& found,
                           const std::string& remedy) const {
    throw Error(ExitCode::usage, fmt::format("{}: key '{}': expected {}, found {}; {}", origin_,
                                             key, expected, found, remedy));
  }

  // Null where the key is left out.
  [[nodiscard]] const json* find(const char* key) const {
    const auto found = object_.find(key);
    return found == object_.end() || found->is_null() ? nullptr : &*found;
  }

  [[nodiscard]] int size(const char* key) const {
    const json* value = find(key);
    if (value == nullptr) {
      refuse(key, "a whole number from 1", "no such key", "add it; the model cannot do without");
    }
    return to_size(*value, key, 1);
  }
  [[nodiscard]] int size_or(const char* key, int otherwise) const {
    const json* value = find(key);
    return value == nullptr ? otherwise : to_size(*value, key, 0);
  }
  [[nodiscard]] bool flag_or(const char* key, bool otherwise) const {
    const json* value = find(key);
    if (value == nullptr) {
      return otherwise;
    }
    if (!value->is_boolean()) {
      refuse(key, "true or false", words(*value), "write one of them");
    }
    return value->get<bool>();
  }
  [[nodiscard]] std::string text_or(const char* key, const std::string& otherwise) const {
    const json* value = find(key);
    if (value == nullptr) {
      return otherwise;
    }
    if (!value->is_string()) {
      refuse(key, "a text", words(*value), "write one");
    }
    return value->get<std::string>();
  }

  // A feature that would change costs in a way that ModelConfig has no words for.
  void require(bool is_met, const char* key, const std::string& expected) const {
    if (!is_met) {
      const json* value = find(key);
      refuse(key, expected, value == nullptr ? "no such key" : words(*value),
             "costs of anything else are not known; write a [model] table by hand");
    }
  }

  [[nodiscard]] static std::string words(const json& value) {
    constexpr std::size_t length_max = 60;
    if (!value.is_primitive()) {
      return fmt::format("a{} {}", value.is_array() ? "n" : "", value.type_name());
    }
    const std::string text = value.dump(-1, ' ', true, json::error_handler_t::replace);
    return text.size() > length_max ? text.substr(0, length_max) + "..." : text;
  }

 private:
  [[nodiscard]] int to_size(const json& value, const char* key, int least) const {
    constexpr std::int64_t largest = 100'000'000;
    const bool is_size = value.is_number_integer() && value >= least && value <= largest;
    if (!is_size) {
      refuse(key, fmt::format("a whole number from {} to {}", least, largest), words(value),
             "write one");
    }
    return value.get<int>();
  }

  const json& object_;
  const std::string& origin_;
};

// What the models after Llama have in common.
ModelConfig read_llama(const ConfigReader& reader) {
  reader.require(reader.text_or("hidden_act", "silu") == "silu", "hidden_act", "\"silu\"");
  reader.require(!reader.flag_or("attention_bias", false), "attention_bias", "false");
  reader.require(!reader.flag_or("mlp_bias", false), "mlp_bias", "false");
  const bool has_window =
      reader.find("sliding_window") != nullptr && reader.flag_or("use_sliding_window", true);
  reader.require(!has_window, "sliding_window", "none in use");
  ModelConfig model;
  model.layers = reader.size("num_hidden_layers");
  model.hidden = reader.size("hidden_size");
  model.heads = reader.size("num_attention_heads");
  model.vocabulary = reader.size("vocab_size");
  model.tied_embeddings = reader.flag_or("tie_word_embeddings", false);
  return model;
}

void read_grouped_attention(const ConfigReader& reader, ModelConfig& model) {
  model.kv_heads = reader.size_or("num_key_value_heads", 0);
  model.head_size = reader.size_or("head_dim", 0);
}

ModelConfig read_dense(const ConfigReader& reader) {
  ModelConfig model = read_llama(reader);
  read_grouped_attention(reader, model);
  model.ffn = reader.size("intermediate_size");
  return model;
}

ModelConfig read_qwen2(const ConfigReader& reader) {
  ModelConfig model = read_dense(reader);
  model.qkv_bias = true;
  return model;
}

ModelConfig read_qwen3(const ConfigReader& reader) {
  ModelConfig model = read_dense(reader);
  model.qk_norm = true;
  return model;
}

// Dense layers must be the first ones.
int leading_dense_layers(const ConfigReader& reader) {
  const json* list = reader.find("mlp_only_layers");
  if (list == nullptr) {
    return 0;
  }
  bool is_leading = list->is_array();
  for (std::size_t index = 0; is_leading && index < list->size(); ++index) {
    const json& layer = (*list)[index];
    is_leading = layer.is_number_integer() && layer == index;
  }
  reader.require(is_leading, "mlp_only_layers", "none, or the numbers of the first layers");
  return static_cast<int>(std::min<std::size_t>(list->size(), 100'000));
}

ModelConfig read_qwen3_moe(const ConfigReader& reader) {
  reader.require(reader.size_or("decoder_sparse_step", 1) == 1, "decoder_sparse_step", "1");
  ModelConfig model = read_llama(reader);
  read_grouped_attention(reader, model);
  model.qk_norm = true;
  model.experts = reader.size("num_experts");
  model.experts_per_token = reader.size("num_experts_per_tok");
  model.expert_ffn = reader.size("moe_intermediate_size");
  model.dense_layers = leading_dense_layers(reader);
  model.ffn = model.dense_layers > 0 ? reader.size("intermediate_size") : 0;
  return model;
}

ModelConfig read_mixtral(const ConfigReader& reader) {
  ModelConfig model = read_llama(reader);
  read_grouped_attention(reader, model);
  model.experts = reader.size("num_local_experts");
  model.experts_per_token = reader.size("num_experts_per_tok");
  model.expert_ffn = reader.size("intermediate_size");
  return model;
}

ModelConfig read_deepseek(const ConfigReader& reader) {
  reader.require(reader.size_or("moe_layer_freq", 1) == 1, "moe_layer_freq", "1");
  ModelConfig model = read_llama(reader);
  model.attention = "mla";
  model.q_lora = reader.size_or("q_lora_rank", 0);
  model.kv_lora = reader.size("kv_lora_rank");
  model.head_size_nope = reader.size("qk_nope_head_dim");
  model.head_size_rope = reader.size("qk_rope_head_dim");
  model.head_size_value = reader.size("v_head_dim");
  model.ffn = reader.size("intermediate_size");
  model.mtp_layers = reader.size_or("num_nextn_predict_layers", 0);
  if (reader.find("n_routed_experts") != nullptr) {
    model.experts = reader.size("n_routed_experts");
    model.experts_per_token = reader.size("num_experts_per_tok");
    model.shared_experts = reader.size_or("n_shared_experts", 0);
    model.expert_ffn = reader.size("moe_intermediate_size");
    model.dense_layers = reader.size_or("first_k_dense_replace", 0);
  }
  return model;
}

ModelConfig read_gpt2(const ConfigReader& reader) {
  ModelConfig model;
  model.layers = reader.size("n_layer");
  model.hidden = reader.size("n_embd");
  model.heads = reader.size("n_head");
  model.vocabulary = reader.size("vocab_size");
  model.positions = reader.size("n_positions");
  constexpr int width_max = 100'000'000 / 4;
  model.ffn = reader.size_or("n_inner", 4 * std::min(model.hidden, width_max));
  model.mlp = "gelu";
  model.tied_embeddings = reader.flag_or("tie_word_embeddings", true);
  model.biases = true;
  model.dropout = true;
  return model;
}

struct ModelType {
  std::string_view name;
  ModelConfig (*read)(const ConfigReader&);
};

constexpr std::array<ModelType, 8> model_types{{{"deepseek_v2", read_deepseek},
                                                {"deepseek_v3", read_deepseek},
                                                {"gpt2", read_gpt2},
                                                {"llama", read_dense},
                                                {"mixtral", read_mixtral},
                                                {"qwen2", read_qwen2},
                                                {"qwen3", read_qwen3},
                                                {"qwen3_moe", read_qwen3_moe}}};

const ModelType& type_of(const ConfigReader& reader) {
  const std::string name = reader.text_or("model_type", "");
  const auto type = std::ranges::find(model_types, name, &ModelType::name);
  if (type == model_types.end()) {
    std::vector<std::string_view> names;
    for (const ModelType& known : model_types) {
      names.push_back(known.name);
    }
    reader.refuse("model_type", fmt::format("one of {}", fmt::join(names, ", ")),
                  reader.find("model_type") == nullptr
                      ? "no such key"
                      : fmt::format("{}{}", ConfigReader::words(*reader.find("model_type")),
                                    did_you_mean(name, names)),
                  "write a [model] table by hand for another model");
  }
  return *type;
}

json parse(std::string_view text, const std::string& origin) {
  json document;
  try {
    document = json::parse(text);
  } catch (const json::exception& error) {  // not JSON, or a number beyond all doubles
    throw Error(ExitCode::usage,
                fmt::format("{}: expected JSON, found none: {}; give the config.json that lies "
                            "beside a model's weights",
                            origin, error.what()));
  }
  if (!document.is_object()) {
    throw Error(ExitCode::usage,
                fmt::format("{}: expected a JSON object, found {}; give the config.json that lies "
                            "beside a model's weights",
                            origin, ConfigReader::words(document)));
  }
  return document;
}

}  // namespace

ModelConfig parse_huggingface(std::string_view text, const std::string& origin) {
  const json document = parse(text, origin);
  const ConfigReader reader(document, origin);
  const ModelType& type = type_of(reader);
  ModelConfig model = type.read(reader);
  model.name = reader.text_or("_name_or_path", std::string(type.name));
  try {
    return complete_model(std::move(model));
  } catch (const Error& error) {  // It names the key of ours; the file is known here alone.
    throw Error(error.code(), fmt::format("{}: {}", origin, error.what()));
  }
}

}  // namespace dualpipe
