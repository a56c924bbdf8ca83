// dualpipe-sim list: the schedule families, what each requires, and what is known of it.

#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/config.h"
#include "cli/subject.h"
#include "costs/cost_model.h"
#include "costs/error.h"
#include "render/table.h"
#include "scheduler/file.h"
#include "scheduler/generate.h"
#include "scheduler/pipeline.h"
#include "scheduler/pipeline_json.h"

namespace dualpipe {
namespace {

std::string as_table() {
  std::vector<std::vector<std::string>> rows;
  std::vector<std::vector<std::string>> formulas;
  for (const Family* family : families()) {
    rows.push_back({std::string(family->name), std::string(family->summary),
                    std::string(family->requirement), family->cost_aware() ? "costs" : "shape"});
    formulas.push_back({std::string(family->name), std::string(family->step_time_formula)});
  }
  const std::vector<Column> columns{{"schedule", Align::left},
                                    {"what it is", Align::left},
                                    {"requires", Align::left},
                                    {"made for", Align::left}};
  const std::vector<Column> formula_columns{{"schedule", Align::left},
                                            {"step time, by stage", Align::left}};
  return format_table(columns, rows) + "\n" + format_table(formula_columns, formulas) +
         "\nP ranks, M microbatches, v chunks per rank; F forward, I and W the halves of a "
         "backward B,\n"
         "FB a forward overlapped with a backward, all of one stage; c one transfer.\n"
         "`list --format json` adds sources, and the closed forms at --ranks and --microbatches.\n";
}

nlohmann::ordered_json number_or_null(const std::optional<Time>& time) {
  return time ? nlohmann::ordered_json(time->count()) : nlohmann::ordered_json();
}

// What a rank computes in a step if nothing overlaps.
Time work_per_rank(const Shape& shape, const Placement& placement, const StageCosts& stage) {
  const Time all = shape.microbatches * (stage.forward + stage.backward());
  return all * placement.stages() / placement.ranks;
}

nlohmann::ordered_json closed_form_of(const Family& family, const Config& config) {
  const Shape shape = shape_of(config);
  const bool limited = family.cost_aware() && config.pipeline.memory_limit;
  if (!family.supports(shape) || limited || config.pipeline.forward_only) {
    return nullptr;  // They are for a whole step under the family's own limit.
  }
  const Placement placement = family.placement(shape);
  const CostModel costs = costs_on(placement, config);
  for (const StageCosts& stage : costs.stages) {
    if (stage != costs.stages.front()) {
      return nullptr;  // Closed forms are for stages of equal cost.
    }
  }
  require_step_fits(costs, shape.microbatches);
  const StageCosts& stage = costs.stages.front();
  const ClosedForm known = family.closed_form(shape, stage, costs.p2p);
  nlohmann::ordered_json form;
  form["step_time"] = number_or_null(known.step_time);
  form["longest_rank_time"] = number_or_null(known.longest_rank_time);
  form["bubble"] = nullptr;
  if (known.step_time) {
    form["bubble"] = (*known.step_time - work_per_rank(shape, placement, stage)).count();
  }
  form["peak_activations"] = nullptr;
  if (known.peak_activations) {
    form["peak_activations"] = *known.peak_activations;
  }
  form["parameter_shares"] = placement.parameter_shares();
  return form;
}

std::string as_json(const Config& config) {
  nlohmann::ordered_json document;
  document["schema_version"] = schema_version;
  document["ranks"] = config.pipeline.ranks;
  document["microbatches"] = config.pipeline.microbatches;
  document["chunks"] = config.pipeline.chunks;
  document["schedules"] = nlohmann::ordered_json::array();
  for (const Family* family : families()) {
    document["schedules"].push_back({{"name", family->name},
                                     {"summary", family->summary},
                                     {"source", family->source},
                                     {"requires", family->requirement},
                                     {"step_time_formula", family->step_time_formula},
                                     {"cost_aware", family->cost_aware()},
                                     {"supported", family->supports(shape_of(config))},
                                     {"closed_form", closed_form_of(*family, config)}});
  }
  return document.dump() + "\n";
}

}  // namespace

ExitCode run_list(const ListOptions& options) {
  const Config config = resolve_config(options.subject);
  write_file("-", options.format == "json" ? as_json(config) : as_table());
  return ExitCode::ok;
}

}  // namespace dualpipe
