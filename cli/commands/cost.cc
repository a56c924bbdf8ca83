// dualpipe-sim cost: what everything costs, and where each number came from.

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/config.h"
#include "cli/config_keys.h"
#include "cli/subject.h"
#include "costs/cost_model.h"
#include "costs/cost_sources.h"
#include "costs/error.h"
#include "render/table.h"
#include "render/units.h"
#include "scheduler/file.h"
#include "scheduler/pipeline.h"
#include "scheduler/pipeline_json.h"

namespace dualpipe {
namespace {

// A key of [costs] that somebody has set: its value and the place, in words.
struct SetCost {
  std::string key;
  std::string value;
  std::string where;
};

// Where a value was read, as far as that is remembered.
struct Place {
  std::string operator()(const CostValue* value) const { return value->where; }
  std::string operator()(const std::optional<CostValue>* value) const {
    return value->has_value() ? (*value)->where : "";
  }
  std::string operator()(const std::optional<CostNumber>* value) const {
    return value->has_value() ? (*value)->where : "";
  }
  template <typename Other>
  std::string operator()(const Other* /*value*/) const {
    return "";
  }
};

std::vector<SetCost> set_costs(const Config& config) {
  Config values = config;  // a key gives access to change its field
  std::vector<SetCost> all;
  for (const ConfigKey& key : config_keys()) {
    if (key.table != "costs") {
      continue;
    }
    const std::string where = std::visit(Place{}, key.field(values));
    const std::string value = toml_value(key, config);
    if (!where.empty() || value != toml_value(key, Config{})) {
      all.push_back({key.dotted(), value, where.empty() ? "the config" : where});
    }
  }
  return all;
}

// "0-2, 5": stages with the same value from the same source are one row.
std::string in_ranges(const std::vector<int>& stages) {
  std::string text;
  for (std::size_t first = 0; first < stages.size();) {
    std::size_t last = first;
    while (last + 1 < stages.size() && stages[last + 1] == stages[last] + 1) {
      ++last;
    }
    text += fmt::format("{}{}", text.empty() ? "" : ", ", stages[first]);
    if (last > first) {
      text += fmt::format("-{}", stages[last]);
    }
    first = last + 1;
  }
  return text;
}

std::string sources_table(const std::vector<CostSource>& sources) {
  struct Row {
    CostSource source;
    std::vector<int> stages;
  };
  std::vector<Row> rows;
  for (const CostSource& source : sources) {
    CostSource bare = source;
    bare.stage = CostSource::all_stages;
    const auto same = std::ranges::find(rows, bare, &Row::source);
    if (same == rows.end()) {
      rows.push_back({bare, {source.stage}});
    } else {
      same->stages.push_back(source.stage);
    }
  }
  std::ranges::stable_sort(rows, {}, [](const Row& row) { return row.stages.front(); });
  std::vector<std::vector<std::string>> cells;
  for (const auto& [source, stages] : rows) {
    cells.push_back({stages.front() == CostSource::all_stages ? "all" : in_ranges(stages),
                     source.quantity, fmt::format("{:.5g}", source.value), source.unit,
                     source.source});
  }
  const std::vector<Column> columns{{"stages", Align::left},
                                    {"quantity", Align::left},
                                    {"value"},
                                    {"unit", Align::left},
                                    {"from", Align::left}};
  return format_table(columns, cells);
}

// What engines take, after all that was set.
std::string model_table(const CostModel& costs) {
  struct Row {
    StageCosts costs;
    std::vector<int> stages;
  };
  std::vector<Row> rows;
  for (std::size_t stage = 0; stage < costs.stages.size(); ++stage) {
    if (rows.empty() || rows.back().costs != costs.stages[stage]) {
      rows.push_back({costs.stages[stage], {}});
    }
    rows.back().stages.push_back(static_cast<int>(stage));
  }
  std::vector<std::vector<std::string>> cells;
  for (const auto& [stage, stages] : rows) {
    cells.push_back(
        {in_ranges(stages), format_time(stage.forward), format_time(stage.backward_input),
         format_time(stage.backward_weight), format_time(stage.overlapped),
         format_bytes(stage.bytes.activation), format_bytes(stage.bytes.weight_operands),
         format_bytes(stage.bytes.weights + stage.bytes.gradients + stage.bytes.optimizer)});
  }
  const std::vector<Column> columns{
      {"stages", Align::left}, {"F"},         {"I"}, {"W"}, {"F&B"}, {"activation"},
      {"weight operands"},     {"parameters"}};
  std::string text = format_table(columns, cells);
  text += fmt::format("\np2p                {}, of which latency {}\n", format_time(costs.p2p),
                      format_time(costs.p2p_latency));
  if (costs.gradient_norm != Time{} || costs.stages.front().tail != StageTail{}) {
    const StageTail& tail = costs.stages.front().tail;
    text += fmt::format(
        "end of the step    replica reduce {}, gradient reduce {}, gradient norm {}{}, optimizer "
        "{}, parameter gather {} (stage 0)\n",
        format_time(tail.replica_reduce), format_time(tail.gradient_reduce),
        format_time(costs.gradient_norm), costs.post_validation ? " (not waited for)" : "",
        format_time(tail.optimizer), format_time(tail.parameter_gather));
  }
  if (costs.ranks_per_node > 1) {
    text += fmt::format("p2p in a node      {}, of which latency {}; {} ranks share a node\n",
                        format_time(costs.p2p_in_node), format_time(costs.p2p_in_node_latency),
                        costs.ranks_per_node);
  }
  return text;
}

std::string as_table(const Config& config, const Placement& placement) {
  std::string text = model_table(costs_on(placement, config));
  const std::vector<SetCost> set = set_costs(config);
  if (config.has_model()) {
    text += "\nDerived from [model], [parallel] and [hardware]:\n\n" +
            sources_table(cost_sources(derived_costs(placement, config)));
  } else {
    text += "\nFrom the numbers of [costs]; what nobody has set is as --dump-config says.\n";
  }
  if (!set.empty()) {
    text += config.has_model() ? "\nSet, and used instead:\n" : "\nSet:\n";
    for (const SetCost& one : set) {
      text += fmt::format("  {} = {} ({})\n", one.key, one.value, one.where);
    }
  }
  return text;
}

nlohmann::ordered_json stage_json(const StageCosts& stage) {
  return {{"forward", stage.forward.count()},
          {"backward_input", stage.backward_input.count()},
          {"backward_weight", stage.backward_weight.count()},
          {"overlapped", stage.overlapped.count()},
          {"activation_bytes", stage.bytes.activation},
          {"weight_operand_bytes", stage.bytes.weight_operands},
          {"logits_bytes", stage.bytes.logits},
          {"boundary_bytes", stage.bytes.boundary},
          {"weight_bytes", stage.bytes.weights},
          {"gradient_bytes", stage.bytes.gradients},
          {"optimizer_bytes", stage.bytes.optimizer},
          {"replica_reduce", stage.tail.replica_reduce.count()},
          {"gradient_reduce", stage.tail.gradient_reduce.count()},
          {"optimizer", stage.tail.optimizer.count()},
          {"parameter_gather", stage.tail.parameter_gather.count()}};
}

std::string as_json(const Config& config, const Placement& placement) {
  const CostModel costs = costs_on(placement, config);
  nlohmann::ordered_json document;
  document["schema_version"] = schema_version;
  document["stages"] = nlohmann::ordered_json::array();
  for (const StageCosts& stage : costs.stages) {
    document["stages"].push_back(stage_json(stage));
  }
  document["p2p"] = {{"time", costs.p2p.count()}, {"latency", costs.p2p_latency.count()}};
  document["p2p_in_node"] = {{"time", costs.p2p_in_node.count()},
                             {"latency", costs.p2p_in_node_latency.count()},
                             {"ranks_per_node", costs.ranks_per_node}};
  document["gradient_norm"] = costs.gradient_norm.count();
  document["post_validation"] = costs.post_validation;
  document["derived"] = nlohmann::ordered_json::array();
  if (config.has_model()) {
    for (const CostSource& source : cost_sources(derived_costs(placement, config))) {
      document["derived"].push_back({{"stage", source.stage},
                                     {"quantity", source.quantity},
                                     {"value", source.value},
                                     {"unit", source.unit},
                                     {"source", source.source}});
    }
  }
  document["set"] = nlohmann::ordered_json::array();
  for (const SetCost& one : set_costs(config)) {
    document["set"].push_back({{"key", one.key}, {"value", one.value}, {"where", one.where}});
  }
  return document.dump() + "\n";
}

}  // namespace

ExitCode run_cost(const CostOptions& options) {
  const Config config = resolve_config(options.subject);
  const Placement placement = placement_of(options.subject, config);
  write_file("-",
             options.format == "json" ? as_json(config, placement) : as_table(config, placement));
  return ExitCode::ok;
}

}  // namespace dualpipe
