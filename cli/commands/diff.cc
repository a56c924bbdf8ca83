// dualpipe-sim diff: a prediction beside a measurement.

#include "trace/diff.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "cli/commands.h"
#include "costs/cost_model.h"
#include "costs/error.h"
#include "render/table.h"
#include "render/units.h"
#include "scheduler/file.h"
#include "trace/attribution.h"
#include "trace/metrics.h"
#include "trace/slot_kind.h"
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

std::string summary_table(const TimelineDiff& difference) {
  std::vector<std::vector<std::string>> rows;
  rows.push_back(
      time_row("step time", "", difference.predicted.step_time, difference.measured.step_time));
  for (const KindDifference& kind : difference.kinds) {
    rows.push_back(time_row(fmt::format("mean {}", to_string(kind.kind)),
                            std::to_string(kind.count), kind.predicted, kind.measured));
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

// A part of every rank's step: its parts add up to the step time.
struct Part {
  std::string name;
  std::vector<Time> predicted;  // [rank]
  std::vector<Time> measured;
};

Time sum(const std::vector<Time>& times) {
  return std::accumulate(times.begin(), times.end(), Time{});
}

// Busy by kinds of slots, the optimizer where there is one, and idle by causes.
std::vector<Part> parts_of(const TimelineDiff& difference) {
  const std::size_t ranks = difference.ranks.size();
  std::vector<Part> parts;
  for (const std::string_view name : slot_kinds) {
    parts.push_back({std::string(name), std::vector<Time>(ranks), std::vector<Time>(ranks)});
  }
  parts.push_back({"optimizer", std::vector<Time>(ranks), std::vector<Time>(ranks)});
  for (const IdleCause& cause : idle_causes) {
    parts.push_back(
        {"idle: " + std::string(cause.name), std::vector<Time>(ranks), std::vector<Time>(ranks)});
  }
  for (std::size_t rank = 0; rank < ranks; ++rank) {
    const RankDifference& own = difference.ranks[rank];
    Part& optimizer = parts[slot_kinds.size()];
    optimizer.predicted[rank] = difference.predicted.ranks[rank].busy;
    optimizer.measured[rank] = difference.measured.ranks[rank].busy;
    for (const KindDifference& kind : own.kinds) {
      Part& part = parts[static_cast<std::size_t>(kind.kind)];
      part.predicted[rank] = kind.predicted_total;
      part.measured[rank] = kind.measured_total;
      optimizer.predicted[rank] -= kind.predicted_total;
      optimizer.measured[rank] -= kind.measured_total;
    }
    for (std::size_t cause = 0; cause < idle_causes.size(); ++cause) {
      Part& part = parts[slot_kinds.size() + 1 + cause];
      part.predicted[rank] = own.predicted.*idle_causes.at(cause).time;
      part.measured[rank] = own.measured.*idle_causes.at(cause).time;
    }
  }
  std::erase_if(parts, [](const Part& part) {
    return sum(part.predicted) == Time{} && sum(part.measured) == Time{};
  });
  return parts;
}

// What each part of a step takes on average over the ranks, and where the difference of the step
// times comes from: rank by rank, in one unit.
std::string parts_table(const TimelineDiff& difference) {
  const TimeUnit unit = unit_of(difference.measured.step_time);
  const std::int64_t ranks = static_cast<std::int64_t>(difference.ranks.size());
  const auto cell = [&](Time time) { return format_time_in(time, unit); };
  std::vector<Column> columns{
      {fmt::format("({})", unit.name), Align::left}, {"predicted"}, {"measured"}, {"difference"}};
  for (std::int64_t rank = 0; rank < ranks; ++rank) {
    columns.push_back({fmt::format("rank {}", rank)});
  }
  std::vector<std::vector<std::string>> rows;
  const auto add = [&](const Part& part) {
    const Time predicted = sum(part.predicted) / ranks;
    const Time measured = sum(part.measured) / ranks;
    std::vector<std::string> row{part.name, cell(predicted), cell(measured),
                                 cell(measured - predicted)};
    for (std::size_t rank = 0; rank < part.predicted.size(); ++rank) {
      row.push_back(cell(part.measured[rank] - part.predicted[rank]));
    }
    std::ranges::replace(row.front(), '_', ' ');
    rows.push_back(std::move(row));
  };
  for (const Part& part : parts_of(difference)) {
    add(part);
  }
  add({"step time", std::vector<Time>(difference.ranks.size(), difference.predicted.step_time),
       std::vector<Time>(difference.ranks.size(), difference.measured.step_time)});
  return format_table(columns, rows);
}

std::string as_table(const TimelineDiff& difference) {
  const std::string text = summary_table(difference);
  if (!difference.without_causes.empty()) {
    return text +
           fmt::format("\nIdle time is not put down to causes: {}\n", difference.without_causes);
  }
  return text + "\nWhere it comes from, the mean of the ranks and every rank's difference:\n\n" +
         parts_table(difference);
}

std::string formatted(const TimelineDiff& difference, const std::string& format) {
  if (format == "json") {
    return to_json(difference);
  }
  return format == "csv" ? to_csv(difference) : as_table(difference);
}

}  // namespace

ExitCode run_diff(const DiffOptions& options) {
  const Timeline predicted =
      parse_timeline(read_file(options.predicted_path), options.predicted_path);
  const Timeline measured = parse_timeline(read_file(options.measured_path), options.measured_path);
  const TimelineDiff difference = diff(predicted, measured);
  write_file("-", formatted(difference, options.format));
  const bool within =
      !options.tolerance || std::abs(difference.step_time_error()) <= *options.tolerance;
  return within ? ExitCode::ok : ExitCode::outside_tolerance;
}

}  // namespace dualpipe
