// dualpipe-sim diff: a prediction beside a measurement.

#include "trace/diff.h"

#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "cli/commands.h"
#include "costs/cost_model.h"
#include "costs/error.h"
#include "render/table.h"
#include "render/units.h"
#include "scheduler/file.h"
#include "trace/timeline.h"

namespace dualpipe {
namespace {

std::string signed_percent(double ratio) {
  return fmt::format("{}{}", ratio >= 0.0 ? "+" : "", format_percent(ratio));
}

std::string change(Time predicted, Time measured) {
  if (predicted == Time{}) {
    return "";
  }
  return signed_percent(
      static_cast<double>(measured.count()) / static_cast<double>(predicted.count()) - 1.0);
}

std::vector<std::string> time_row(const std::string& name, const std::string& count, Time predicted,
                                  Time measured) {
  return {name, count, format_time(predicted), format_time(measured), change(predicted, measured)};
}

std::string as_table(const TimelineDiff& difference) {
  std::vector<std::vector<std::string>> rows;
  rows.push_back(
      time_row("step time", "", difference.predicted.step_time, difference.measured.step_time));
  for (const KindDifference& kind : difference.kinds) {
    rows.push_back(
        time_row("mean " + kind.kind, std::to_string(kind.count), kind.predicted, kind.measured));
  }
  const auto bubble_row = [&](const std::string& name, double predicted, double measured) {
    rows.push_back({name, "", format_percent(predicted), format_percent(measured),
                    signed_percent(measured - predicted)});
  };
  bubble_row("bubble", difference.predicted.bubble_ratio, difference.measured.bubble_ratio);
  for (std::size_t rank = 0; rank < difference.predicted.ranks.size(); ++rank) {
    bubble_row(fmt::format("bubble of rank {}", rank),
               difference.predicted.ranks[rank].bubble_ratio,
               difference.measured.ranks[rank].bubble_ratio);
  }
  const std::vector<Column> columns{
      {"", Align::left}, {"slots"}, {"predicted"}, {"measured"}, {"difference"}};
  return format_table(columns, rows);
}

}  // namespace

ExitCode run_diff(const DiffOptions& options) {
  const Timeline predicted =
      parse_timeline(read_file(options.predicted_path), options.predicted_path);
  const Timeline measured = parse_timeline(read_file(options.measured_path), options.measured_path);
  const TimelineDiff difference = diff(predicted, measured);
  write_file("-", options.format == "json" ? to_json(difference) : as_table(difference));
  const bool within =
      !options.tolerance || std::abs(difference.step_time_error()) <= *options.tolerance;
  return within ? ExitCode::ok : ExitCode::outside_tolerance;
}

}  // namespace dualpipe
