#include "costs/model.h"

#include <array>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "costs/config_check.h"

namespace dualpipe {
namespace {

using Ranges = ModelRanges;

constexpr NumberRange width = Ranges::width.from(1);

void check_attention(const ConfigCheck& check, const ModelConfig& model) {
  const std::array<std::pair<std::string_view, int>, 5> latent{
      {{"kv_lora", model.kv_lora},
       {"head_size_nope", model.head_size_nope},
       {"head_size_rope", model.head_size_rope},
       {"head_size_value", model.head_size_value},
       {"q_lora", model.q_lora}}};
  if (model.attention == "mla") {
    for (const auto& [key, value] : latent) {
      check.whole(key, value, key == "q_lora" ? Ranges::width : width);
    }
    return;
  }
  for (const auto& [key, value] : latent) {
    if (value != 0) {
      check.refuse(key, {.expected = "none where model.attention is \"gqa\"",
                         .found = fmt::format("{}", value),
                         .remedy = "leave it out, or set model.attention to \"mla\""});
    }
  }
  if (model.heads % model.kv_heads != 0) {
    check.refuse("kv_heads", {.expected = fmt::format("a divisor of the {} heads", model.heads),
                              .found = fmt::format("{}", model.kv_heads),
                              .remedy = "every key head serves the same number of query heads"});
  }
}

void check_experts(const ConfigCheck& check, const ModelConfig& model) {
  check.whole("experts", model.experts, Ranges::experts);
  if (model.experts > 0) {
    check.whole("experts_per_token", model.experts_per_token,
                {.least = 1, .largest = static_cast<double>(model.experts)});
    check.whole("shared_experts", model.shared_experts, Ranges::shared_experts);
    check.whole("expert_ffn", model.expert_ffn, width);
    check.whole("dense_layers", model.dense_layers,
                {.least = 0, .largest = static_cast<double>(model.layers)});
    return;
  }
  const std::array<std::pair<std::string_view, int>, 4> keys{
      {{"experts_per_token", model.experts_per_token},
       {"shared_experts", model.shared_experts},
       {"expert_ffn", model.expert_ffn},
       {"dense_layers", model.dense_layers}}};
  for (const auto& [key, value] : keys) {
    if (value != 0) {
      check.refuse(key, {.expected = "none in a model without experts",
                         .found = fmt::format("{}", value),
                         .remedy = "leave it out, or set model.experts"});
    }
  }
}

void fill_head_size(const ConfigCheck& check, ModelConfig& model) {
  if (model.head_size == 0 && model.hidden % model.heads != 0) {
    check.refuse("head_size", {.expected = "a size",
                               .found = fmt::format("none, and {} is no multiple of the {} heads",
                                                    model.hidden, model.heads),
                               .remedy = "set model.head_size"});
  }
  if (model.head_size == 0) {
    model.head_size = model.hidden / model.heads;
  }
}

}  // namespace

ModelConfig complete_model(ModelConfig model) {
  const ConfigCheck check("model");
  check.whole("layers", model.layers, Ranges::layers.from(1));
  check.whole("hidden", model.hidden, width);
  check.whole("heads", model.heads, Ranges::heads.from(1));
  check.whole("kv_heads", model.kv_heads,
              {.least = 0, .largest = static_cast<double>(model.heads)});
  check.whole("head_size", model.head_size, Ranges::width);
  check.whole("vocabulary", model.vocabulary, Ranges::rows.from(1));
  check.whole("positions", model.positions, Ranges::rows);
  check.whole("mtp_layers", model.mtp_layers, Ranges::mtp_layers);
  check.word("attention", model.attention, attention_kinds);
  check.word("mlp", model.mlp, mlp_kinds);
  model.kv_heads = model.kv_heads == 0 ? model.heads : model.kv_heads;
  check_attention(check, model);
  if (model.attention == "gqa") {
    fill_head_size(check, model);
  }
  check_experts(check, model);
  const bool has_dense = !model.is_moe(0);
  check.whole("ffn", model.ffn, has_dense ? width : Ranges::width);
  return model;
}

}  // namespace dualpipe
