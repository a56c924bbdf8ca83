#include <array>
#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "cli/config.h"
#include "cli/subject.h"
#include "costs/collectives.h"
#include "costs/derive.h"
#include "costs/layer_times.h"
#include "costs/model.h"
#include "costs/overlap.h"
#include "costs/parallel.h"
#include "costs/transformer.h"
#include "scheduler/generate.h"
#include "tests/validation/configs.h"
#include "tests/validation/figures.h"
#include "tests/validation/sections.h"

namespace dualpipe {
namespace {

struct Preset {
  std::string_view file;
  int sequence = 0;  // tokens that the model was trained with
};

constexpr std::array<Preset, 6> presets{{{"deepseek_v3", 4096},
                                         {"gpt_3_175b", 2048},
                                         {"llama_3_8b", 8192},
                                         {"llama_3_70b", 8192},
                                         {"mixtral_8x7b", 32768},
                                         {"qwen3_moe", 4096}}};

ModelConfig model_of(const std::string& configs, std::string_view file) {
  const std::vector<std::string> paths{fmt::format("{}/models/{}.toml", configs, file)};
  return complete_model(load_config(paths, {}).model);
}

// Parameters that are no factor of a product: the embedding, if the head is another matrix.
double looked_up(const ModelConfig& model) {
  const double embedding = static_cast<double>(model.vocabulary) * model.hidden;
  const double positions = static_cast<double>(model.positions) * model.hidden;
  return positions + (model.tied_embeddings ? 0.0 : embedding);
}

std::string parameters_table(const std::string& configs) {
  struct Published {
    std::string_view file;
    bool active = false;
    double billions = 0.0;
    int decimals = 0;
    std::string_view source;
    std::string_view why;
  };
  constexpr std::string_view weights = "the published weights";
  constexpr std::string_view without_embedding =
      "{:.2f} without the embedding, which is looked up.";
  constexpr std::array<Published, 11> published{{
      {"deepseek_v3", false, 671, 0, "its report, arXiv:2412.19437, abstract", ""},
      {"deepseek_v3", true, 37, 0, "the same", without_embedding},
      {"gpt_3_175b", false, 175.0, 1, "Brown et al., NeurIPS 2020, Table 2.1",
       "Ours is what the layers, widths and positions of the same table add up to."},
      {"llama_3_8b", false, 8.030261248, 9, weights, ""},
      {"llama_3_70b", false, 70.553706496, 9, weights, ""},
      {"mixtral_8x7b", false, 46.702792704, 9, weights, ""},
      {"mixtral_8x7b", false, 47, 0, "Jiang et al., arXiv:2401.04088", ""},
      {"mixtral_8x7b", true, 13, 0, "the same", ""},
      {"qwen3_moe", false, 30.532122624, 9, weights, ""},
      {"qwen3_moe", false, 30.5, 1, "its model card", ""},
      {"qwen3_moe", true, 3.3, 1, "its model card", without_embedding},
  }};
  FigureTable table{.labels = {"model", "parameters, 10^9", "from"}};
  for (const Published& one : published) {
    const ModelConfig model = model_of(configs, one.file);
    const TransformerTotals totals = transformer_totals(model, 4096);
    const double products = (totals.active_parameters - looked_up(model)) / 1e9;
    table.figures.push_back(
        {.labels = {std::string(one.file), one.active ? "active" : "all", std::string(one.source)},
         .published = one.billions,
         .ours = (one.active ? totals.active_parameters : totals.parameters) / 1e9,
         .decimals = {.published = one.decimals, .ours = one.decimals == 9 ? 9 : 2},
         .why = fmt::format(fmt::runtime(one.why), products)});
  }
  return markdown(table);
}

// Of a layer and token, query times key and score times value of all heads, counted once.
double head_widths(const ModelConfig& model) {
  const int width = model.attention == "mla"
                        ? model.head_size_nope + model.head_size_rope + model.head_size_value
                        : 2 * model.head_size;
  return static_cast<double>(model.heads) * width;
}

// Chowdhery et al., "PaLM", 2022, appendix B: 6 N + 12 L H Q T, here with heads whose keys and
// values may differ in width, and with half of the scores.
double palm_flops(const ModelConfig& model, const TransformerTotals& totals, int sequence) {
  return 6.0 * (totals.active_parameters - looked_up(model)) +
         3.0 * model.layers * head_widths(model) * sequence;
}

std::string flops_table(const std::string& configs) {
  FigureTable table{.labels = {"model", "sequence"}, .published = "PaLM's formula"};
  for (const Preset& preset : presets) {
    const ModelConfig model = model_of(configs, preset.file);
    const TransformerTotals totals = transformer_totals(model, preset.sequence);
    table.figures.push_back({.labels = {std::string(preset.file), std::to_string(preset.sequence)},
                             .published = palm_flops(model, totals, preset.sequence) / 1e6,
                             .ours = totals.model_flops() / 1e6,
                             .why = "The formula takes norms and biases for products."});
  }
  return markdown(table);
}

// What a layer's products and core attention take forward, in the letters of docs/formats.md.
struct LayerFlops {
  double gemm = 0.0;
  double attention = 0.0;
};

LayerFlops hand_count(const ModelConfig& model, int sequence) {
  const double h = model.hidden;
  const double a = model.heads;
  double gemm = 4.0 * h * model.head_size * (a + model.kv_heads);
  if (model.attention == "mla") {
    const double key = model.head_size_nope + model.head_size_rope;
    gemm = 2.0 *
           (h * model.q_lora + model.q_lora * a * key + h * (model.kv_lora + model.head_size_rope) +
            model.kv_lora * a * (model.head_size_nope + model.head_size_value) +
            a * model.head_size_value * h);
  }
  gemm += model.experts > 0
              ? 6.0 * h * model.expert_ffn * (model.experts_per_token + model.shared_experts) +
                    2.0 * h * model.experts
              : (model.mlp == "gelu" ? 4.0 : 6.0) * h * model.ffn;
  return {.gemm = gemm, .attention = sequence * head_widths(model)};
}

std::string layer_table(const std::string& configs) {
  FigureTable table{.labels = {"model", "layer"}, .published = "by hand"};
  for (const Preset& preset : presets) {
    const ModelConfig model = model_of(configs, preset.file);
    const LayerKind kind = model.experts > 0 ? LayerKind::moe : LayerKind::dense;
    const Block ours = layer_blocks(model, kind,
                                    {.sequence = preset.sequence,
                                     .recompute = model.attention == "mla" ? Recompute::selective
                                                                           : Recompute::none})
                           .total();
    const LayerFlops hand = hand_count(model, preset.sequence);
    const double forward = hand.gemm + hand.attention;
    const std::string name(preset.file);
    const auto add = [&](const char* what, double reference, double value, int decimals) {
      table.figures.push_back({.labels = {name, what},
                               .published = reference,
                               .ours = value,
                               .decimals = {.published = decimals, .ours = decimals}});
    };
    add("F, MFLOP per token", forward / 1e6, ours.forward() / 1e6, 1);
    if (model.attention != "mla") {  // whose recipe recomputes some products
      add("I / F", (hand.gemm + 2.5 * hand.attention) / forward,
          ours.backward_input() / ours.forward(), 3);
    }
    add("W / F", hand.gemm / forward, ours.backward_weight() / ours.forward(), 3);
    add("output head, layers", 2.0 * model.hidden * model.vocabulary / forward,
        head_block(model).forward() / ours.forward(), 3);
  }
  return markdown(table);
}

// Of a token's FLOP.
double router_share(const ModelConfig& model, const TransformerTotals& totals) {
  const double router = 2.0 * model.hidden * model.experts;
  return 3.0 * router * (model.layers - model.dense_layers) / totals.model_flops();
}

std::string deepseek_table(const std::string& configs) {
  const Config config = resolve_config(subject_of({configs + "/deepseek_v3_h800.toml"}));
  const DerivedCosts derived =
      derived_costs(find_family("dualpipe").placement(shape_of(config)), config);
  const TrainingSetup& setup = derived.setup;
  const auto megabytes = [&](double bytes_per_value) {
    return expert_exchange_bytes(setup.model, setup.parallel, setup.hardware, bytes_per_value) /
           1e6;
  };
  const LayerTraining training = layer_training(setup.parallel, Recompute::selective);
  const Block moe = layer_blocks(setup.model, LayerKind::moe, training).total();
  const double tflops =
      derived.model_tflops(std::chrono::milliseconds(19'926), config.pipeline.microbatches);
  const LayerTimes times = decoder_layer_times(setup, LayerKind::moe, Recompute::selective);
  const auto milliseconds = [](Time time) { return static_cast<double>(time.count()) / 1e6; };
  const Decimals two{.published = 2, .ours = 3};
  const std::string profile = "its profile (github.com/deepseek-ai/profile-data)";
  const std::string fitted = "Efficiencies were fitted to these three, to two digits.";
  FigureTable table{.labels = {"DeepSeek-V3", "from"}};
  table.figures = {
      {{"F of a MoE layer, MFLOP per token", "by hand"}, 1338, moe.forward() / 1e6, {0, 1}},
      {{"I / F", "by hand"}, 1.27, moe.backward_input() / moe.forward(), two},
      {{"W / F", "by hand"}, 0.87, moe.backward_weight() / moe.forward(), two},
      {{"output head, MoE layers", "by hand"},
       1.38,
       head_block(setup.model).forward() / moe.forward(),
       two},
      {{"TFLOPS per GPU at a step of 19.926 s", "Zhao et al., ISCA 2025, Table 4"},
       385,
       tflops,
       {0, 1},
       fmt::format("Its authors do not say what they count; without the router it is {:.1f}.",
                   tflops * (1.0 - router_share(setup.model, derived.totals)))},
      {{"dispatch of a GPU and layer, MB", "by hand, FP8 with scales"},
       121,
       megabytes(value_bytes(setup.parallel.dispatch_type)),
       {0, 1}},
      {{"combine, MB", "by hand, bf16"}, 235, megabytes(value_bytes("bf16")), {0, 1}},
      {{"computing of F, ms", profile},
       8.97,
       milliseconds(times.attention_forward + times.mlp_forward),
       two,
       fitted},
      {{"computing of I, ms", profile},
       14.65,
       milliseconds(times.attention_input + times.mlp_input),
       two,
       fitted},
      {{"computing of W, ms", profile}, 7.46, milliseconds(times.backward_weight()), two, fitted}};
  return markdown(table);
}

std::string training_table(const std::string& configs) {
  const TransformerTotals totals = transformer_totals(model_of(configs, "gpt_3_175b"), 2048);
  FigureTable table{.labels = {"run", "from"}};
  table.figures.push_back(
      {.labels = {"GPT-3 175B, 300 B tokens, 10^23 FLOP", "Brown et al., NeurIPS 2020, Table D.1"},
       .published = 3.14,
       .ours = totals.model_flops() * 300e9 / 1e23,
       .decimals = {.published = 2, .ours = 3},
       .why = "The table takes 6 FLOP a parameter and leaves out attention's scores."});
  return markdown(table);
}

}  // namespace

std::string models_section(const std::string& configs) {
  return "## Models\n\n"
         "The files of `configs/models/`. Parameters, with embedding and output head:\n\n" +
         parameters_table(configs) +
         "\nMFLOP of a token's forward and backward, half of the scores counted (the mask), "
         "beside 6 N + 3 L s (keys' and values'\nwidths of all heads): Chowdhery et al., \"PaLM\", "
         "2022, appendix B, with a mask. N are the parameters that a token meets\nin a "
         "product.\n\n" +
         flops_table(configs) + "\n" + training_table(configs) +
         "\nOne decoder layer (a MoE layer where there are any), beside the products counted one "
         "by "
         "one: 4 h d (a + g) for queries, keys,\nvalues and output, 2 s a d for causal core "
         "attention, 4 h f or 6 h f for the MLP; I = G + 2.5 A and W = G (Dao,\n"
         "\"FlashAttention-2\", 2023).\n\n" +
         layer_table(configs) +
         "\nDeepSeek-V3 as it was trained (`configs/deepseek_v3_h800.toml`):\n\n" +
         deepseek_table(configs);
}

}  // namespace dualpipe
