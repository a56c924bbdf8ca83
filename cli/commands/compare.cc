// dualpipe-sim compare: several schedules of the same model on the same ranks with the same number
// of microbatches, one row each. Costs are per rank's share of the model, so the comparison is
// fair.

#include <algorithm>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/config.h"
#include "cli/subject.h"
#include "costs/error.h"
#include "render/table.h"
#include "render/units.h"
#include "scheduler/file.h"
#include "scheduler/generate.h"
#include "scheduler/pipeline.h"
#include "scheduler/pipeline_json.h"
#include "scheduler/program.h"
#include "trace/metrics.h"

namespace dualpipe {
namespace {

struct Row {
  std::string name;
  std::string refusal;           // why there are no figures; empty where there are
  ExitCode code = ExitCode::ok;  // of the refusal
  Metrics metrics;
  // In shares of a rank: 1 is what one stage of an undivided 1/P of the model would take.
  double peak_activations = 0.0;
  double parameters = 0.0;
};

Row simulate_row(const std::string& name, const SubjectOptions& options, const Config& config) {
  Row row;
  row.name = name;
  SubjectOptions one = options;
  one.subject = name;
  try {
    const Program program = compile_subject(load_subject(one, config), config);
    const Placement& placement = program.pipeline().placement;
    row.metrics = measure(predict(program, config, {.transfers = false}));
    for (const RankMetrics& rank : row.metrics.ranks) {
      row.peak_activations =
          std::max(row.peak_activations, placement.shares(rank.peak_activations));
    }
    row.parameters = placement.parameter_shares();
  } catch (const Error& error) {  // Part of the answer: this schedule does not fit the others.
    row.refusal = error.what();
    row.code = error.code();
  }
  return row;
}

std::string as_table(const std::vector<Row>& rows) {
  std::vector<std::vector<std::string>> cells;
  std::string refusals;
  for (const Row& row : rows) {
    if (!row.refusal.empty()) {
      refusals += fmt::format("{}: {}\n", row.name, row.refusal);
      continue;
    }
    cells.push_back(
        {row.name, format_time(row.metrics.step_time), format_percent(row.metrics.bubble_ratio),
         format_time(row.metrics.longest_rank_time), fmt::format("{:.1f}", row.peak_activations),
         fmt::format("{:.1f}", row.parameters)});
  }
  const std::vector<Column> columns{
      {"schedule", Align::left}, {"step time"},        {"bubble"},
      {"longest rank"},          {"peak activations"}, {"parameters"}};
  const std::string text =
      format_table(columns, cells) +
      "\nActivations and parameters in shares of a rank: 1 is 1/P of the model, of "
      "one microbatch.\n";
  return refusals.empty() ? text : text + "\nNot compared:\n" + refusals;
}

std::string as_json(const std::vector<Row>& rows, const Config& config) {
  nlohmann::ordered_json document;
  document["schema_version"] = schema_version;
  document["ranks"] = config.pipeline.ranks;
  document["microbatches"] = config.pipeline.microbatches;
  document["schedules"] = nlohmann::ordered_json::array();
  for (const Row& row : rows) {
    nlohmann::ordered_json one{{"name", row.name}};
    if (row.refusal.empty()) {
      one["step_time"] = row.metrics.step_time.count();
      one["longest_rank_time"] = row.metrics.longest_rank_time.count();
      one["bubble_ratio"] = row.metrics.bubble_ratio;
      one["peak_activation_shares"] = row.peak_activations;
      one["parameter_shares"] = row.parameters;
    } else {
      one["refused"] = row.refusal;
    }
    document["schedules"].push_back(one);
  }
  return document.dump() + "\n";
}

std::string as_csv(const std::vector<Row>& rows) {
  std::string text =
      "schedule,step_time,longest_rank_time,bubble_ratio,peak_activation_shares,"
      "parameter_shares\n";
  for (const Row& row : rows) {
    if (row.refusal.empty()) {
      text += fmt::format("{},{},{},{},{},{}\n", row.name, row.metrics.step_time.count(),
                          row.metrics.longest_rank_time.count(), row.metrics.bubble_ratio,
                          row.peak_activations, row.parameters);
    }
  }
  return text;
}

}  // namespace

ExitCode run_compare(const CompareOptions& options) {
  const Config config = resolve_config(options.subject);
  std::vector<std::string> names = options.schedules;
  if (names.empty()) {
    for (const Family* family : families()) {
      names.emplace_back(family->name);
    }
  }
  std::vector<Row> rows;
  for (const std::string& name : names) {
    if (!names_file(name)) {
      static_cast<void>(find_family(name));  // A misspelt name is a mistake, not an answer.
    }
    rows.push_back(simulate_row(name, options.subject, config));
  }
  if (options.format == "json") {
    write_file("-", as_json(rows, config));
  } else {
    write_file("-", options.format == "csv" ? as_csv(rows) : as_table(rows));
  }
  const bool any =
      std::any_of(rows.begin(), rows.end(), [](const Row& row) { return row.refusal.empty(); });
  const bool same = std::all_of(rows.begin(), rows.end(),
                                [&](const Row& row) { return row.code == rows.front().code; });
  // Where nothing could be compared for one and the same reason, that is what has happened.
  return any ? ExitCode::ok : same ? rows.front().code : ExitCode::usage;
}

}  // namespace dualpipe
