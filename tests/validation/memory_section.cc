#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "cli/config.h"
#include "cli/subject.h"
#include "costs/cost_model.h"
#include "costs/derive.h"
#include "costs/layer_times.h"
#include "costs/model.h"
#include "costs/parallel.h"
#include "costs/transformer.h"
#include "scheduler/pipeline.h"
#include "scheduler/program.h"
#include "sim/simulate.h"
#include "tests/validation/configs.h"
#include "tests/validation/figures.h"
#include "tests/validation/sections.h"
#include "trace/metrics.h"

namespace dualpipe {
namespace {

ModelConfig gpt_3_of(const std::string& configs) {
  const std::vector<std::string> paths{configs + "/models/gpt_3_175b.toml"};
  return complete_model(load_config(paths, {}).model);
}

// The other model of the paper's section 5.
ModelConfig mt_nlg_of(ModelConfig gpt_3) {
  gpt_3.layers = 105;
  gpt_3.hidden = 20480;
  gpt_3.heads = 128;
  gpt_3.kv_heads = 128;
  gpt_3.head_size = 160;
  gpt_3.ffn = 4 * gpt_3.hidden;
  return gpt_3;
}

constexpr int sequence = 2048;

double layer_bytes(const ModelConfig& model, bool flash_attention, Recompute recompute) {
  return layer_blocks(
             model, LayerKind::dense,
             {.sequence = sequence, .flash_attention = flash_attention, .recompute = recompute})
      .total()
      .activation_bytes;
}

std::string layer_table(const ModelConfig& gpt_3) {
  const double h = gpt_3.hidden;
  const double scores = 5.0 * gpt_3.heads * sequence;
  FigureTable table{.labels = {"GPT-3 175B, a layer keeps", "formula"}};
  table.figures = {
      {{"everything", "34 h + 5 a s"}, 34 * h + scores, layer_bytes(gpt_3, false, Recompute::none)},
      {{"all but core attention (selective)", "34 h"},
       34 * h,
       layer_bytes(gpt_3, false, Recompute::selective)},
      {{"with flash attention", "34 h"}, 34 * h, layer_bytes(gpt_3, true, Recompute::none)},
      {{"its input (full)", "2 h"}, 2 * h, layer_bytes(gpt_3, false, Recompute::full)}};
  return markdown(table);
}

std::string saving_table(const ModelConfig& gpt_3) {
  const auto saved = [](const ModelConfig& model) {
    return 100.0 * (1.0 - layer_bytes(model, false, Recompute::selective) /
                              layer_bytes(model, false, Recompute::none));
  };
  FigureTable table{.labels = {"selective recomputation saves, %"}};
  table.figures = {{{"GPT-3 175B"}, 70, saved(gpt_3), {0, 1}},
                   {{"MT-NLG 530B"}, 65, saved(mt_nlg_of(gpt_3)), {0, 1}}};
  return markdown(table);
}

// All that a GPU keeps of the parameters in its care, per parameter.
double static_bytes(const StageBytes& bytes, double weight_bytes) {
  const double parameters = static_cast<double>(bytes.weights) / weight_bytes;
  return static_cast<double>(bytes.weights + bytes.gradients + bytes.optimizer) / parameters;
}

std::string static_table(const std::string& configs) {
  const auto bytes_of = [&](const std::vector<std::string>& sets) {
    const Config config = resolve_config(
        subject_of({configs + "/models/llama_3_8b.toml", configs + "/hardware/a100.toml"}, sets));
    return costs_on(linear_placement(1), config).stages.front().bytes;
  };
  const std::vector<std::string> zero{"parallel.data=64", "parallel.gradient_bytes=2"};
  std::vector<std::string> zero_baseline = zero;
  zero_baseline.emplace_back("parallel.optimizer_sharding=none");
  const double of_parameters = 7.5;  // 10^9, the paper's example
  FigureTable table{.labels = {"static memory", "from"}};
  table.figures = {
      {{"bytes of a parameter, fp32 gradients", "2 + 4 + 12"},
       18,
       static_bytes(bytes_of({"parallel.optimizer_sharding=none"}), 2),
       {0, 2}},
      {{"the same, sharded over 8 replicas", "6 + 12 / 8"},
       7.5,
       static_bytes(bytes_of({"parallel.data=8"}), 2),
       {1, 2}},
      {{"7.5 B parameters, bf16 gradients, GB", "Rajbhandari et al., SC 2020, Figure 1"},
       120,
       of_parameters * static_bytes(bytes_of(zero_baseline), 2),
       {0, 2}},
      {{"the same, sharded over 64 replicas, GB", "the same"},
       31.4,
       of_parameters * static_bytes(bytes_of(zero), 2),
       {1, 2}}};
  return markdown(table);
}

// 34 s b h / t bytes for each of L / P layers, and on the first stage what the embedding keeps:
// masks of dropout and the tokens' numbers, s b (h + 8) / t; on the last what the head does, 4 s b
// h / t beside the logits.
double activation_bytes(const TrainingSetup& setup, int stages, int stage) {
  const double h = setup.model.hidden;
  const double layers = static_cast<double>(setup.model.layers) / stages;
  const double ends = (stage == 0 ? h + 8.0 : 0.0) + (stage == stages - 1 ? 4.0 * h : 0.0);
  return (34.0 * h * layers + ends) * setup.parallel.tokens() / setup.parallel.tensor;
}

std::string peak_table(const std::string& configs) {
  const SubjectOptions options =
      subject_of({configs + "/models/gpt_3_175b.toml", configs + "/hardware/a100.toml"},
                 {"pipeline.schedule=1f1b", "pipeline.ranks=8", "pipeline.microbatches=64",
                  "parallel.sequence=2048", "parallel.tensor=8"});
  const Config config = resolve_config(options);
  const Subject subject = load_subject(options, config);
  const Program program = compile_subject(subject, config);
  const DerivedCosts derived = derived_costs(subject.schedule.pipeline.placement, config);
  const Metrics metrics = measure(simulate(program, derived.costs, {.transfers = false}));
  const int ranks = static_cast<int>(metrics.ranks.size());
  FigureTable table{.labels = {"rank", "alive"}, .published = "by hand"};
  for (int rank = 0; rank < ranks; ++rank) {
    const int alive = std::min(ranks - rank, config.pipeline.microbatches);
    const RankMetrics& of_rank = metrics.ranks[static_cast<std::size_t>(rank)];
    table.figures.push_back(
        {.labels = {std::to_string(rank), std::to_string(of_rank.peak_activations)},
         .published = alive * activation_bytes(derived.setup, ranks, rank),
         .ours = static_cast<double>(of_rank.peak_memory.activations)});
  }
  return markdown(table);
}

}  // namespace

std::string memory_section(const std::string& configs) {
  const ModelConfig gpt_3 = gpt_3_of(configs);
  return "## Memory\n\n"
         "Activations, bytes per token: Korthikanti et al., \"Reducing Activation Recomputation in "
         "Large Transformer Models\", MLSys\n2023, Table 2, for GPT-3 175B and sequences of 2,048 "
         "tokens.\n\n" +
         layer_table(gpt_3) + "\nTheir section 5:\n\n" + saving_table(gpt_3) +
         "\nWeights, gradients and optimizer: bf16 weights, fp32 master copy and Adam's two "
         "moments.\n\n" +
         static_table(configs) +
         "\nThe most bytes of activations that a rank has alive in 1F1B: GPT-3 175B on 8 ranks of "
         "8 "
         "tensor slices, 64 microbatches,\nflash attention. By hand: min(P - r, M) microbatches of "
         "34 s b h / t bytes for each of the stage's layers, and what embedding and\nhead keep "
         "(section 4.3 of the same paper); ours is the peak of the simulated step.\n\n" +
         peak_table(configs);
}

}  // namespace dualpipe
