// dualpipe-sim list: the schedule families, what each requires, and what is known of it.

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
  for (const Family* family : families()) {
    rows.push_back({std::string(family->name), std::string(family->summary),
                    std::string(family->requirement), std::string(family->step_time_formula)});
  }
  const std::vector<Column> columns{{"schedule", Align::left},
                                    {"what it is", Align::left},
                                    {"requires", Align::left},
                                    {"step time without transfers", Align::left}};
  return format_table(columns, rows) +
         "\nP ranks, M microbatches, v chunks per rank; F forward, I and W the halves of a "
         "backward B,\n"
         "FB a forward overlapped with a backward, all of one stage; c one transfer.\n"
         "`list --format json` adds sources, and the closed forms at --ranks and --microbatches.\n";
}

nlohmann::ordered_json closed_form_of(const Family& family, const Config& config) {
  const Shape shape = shape_of(config);
  if (!family.supports(shape)) {
    return nullptr;
  }
  const Placement placement = family.generate(shape).pipeline.placement;
  const CostModel costs = resolve_costs(config.costs, shape.ranks, placement.stages());
  for (const StageCosts& stage : costs.stages) {
    if (stage != costs.stages.front()) {
      return nullptr;  // Closed forms are for stages of equal cost.
    }
  }
  const ClosedForm known = family.closed_form(shape, costs.stages.front(), costs.p2p);
  nlohmann::ordered_json form;
  form["step_time"] = nullptr;
  if (known.step_time) {
    form["step_time"] = known.step_time->count();
  }
  form["peak_activations"] = known.peak_activations;
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
