// dualpipe-sim calibrate: the costs that a measured timeline shows, as a config. What a config has
// no keys for - how times spread, what each link is like - stands above it in comments.

#include "trace/calibrate.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "cli/commands.h"
#include "cli/config.h"
#include "costs/cost_model.h"
#include "costs/error.h"
#include "render/table.h"
#include "render/units.h"
#include "scheduler/file.h"
#include "trace/links.h"
#include "trace/slot_kind.h"
#include "trace/spread.h"
#include "trace/timeline.h"

namespace dualpipe {
namespace {

std::string as_comment(std::string_view text) {
  std::string comment;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    comment += end == 0 ? "#\n" : fmt::format("# {}\n", text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return comment;
}

std::string time_text(double nanoseconds) {
  return format_time(Time(std::llround(nanoseconds)));
}

// As many digits of a deviation as a measurement has, and more.
double to_ten_thousandths(double value) {
  constexpr double scale = 1e4;
  return std::round(value * scale) / scale;
}

std::string slots_table(const Timeline& timeline) {
  const std::vector<Column> columns{{"stage"},  {"slot", Align::left}, {"count"},
                                    {"mean"},   {"deviation"},         {"lower decile"},
                                    {"median"}, {"upper decile"}};
  std::vector<std::vector<std::string>> rows;
  for (const SlotSpread& one : slot_spreads(timeline)) {
    const Spread& time = one.time;
    rows.push_back({std::to_string(one.stage), std::string(to_string(one.kind)),
                    std::to_string(time.count), time_text(time.mean), time_text(time.deviation),
                    time_text(time.low), time_text(time.median), time_text(time.high)});
  }
  return format_table(columns, rows);
}

// GB/s is bytes per nanosecond.
std::string bandwidth_text(const LinkFit& link) {
  if (!link.has_sizes) {
    return "in latency";
  }
  return link.per_byte > 0.0 ? fmt::format("{:.3g} GB/s", 1.0 / link.per_byte) : "no end";
}

std::string links_table(const LinkFits& fits) {
  const std::vector<Column> columns{{"link", Align::left}, {"messages"},     {"bytes"},
                                    {"awaited"},           {"lower decile"}, {"median"},
                                    {"upper decile"},      {"latency"},      {"bandwidth"},
                                    {"others waited"}};
  std::vector<std::vector<std::string>> rows;
  const auto add = [&](const std::string& name, const LinkFit& link) {
    std::vector<std::string> row{
        name, std::to_string(link.messages),
        "",   "0",
        "",   "",
        "",   "",
        "",   link.travel.count == link.messages ? "" : time_text(link.waited)};
    if (link.travel.count > 0) {
      row = {name,
             std::to_string(link.messages),
             link.bytes > 0.0 ? fmt::format("{:.0f}", link.bytes) : "",
             std::to_string(link.travel.count),
             time_text(link.travel.low),
             time_text(link.travel.median),
             time_text(link.travel.high),
             time_text(link.latency),
             bandwidth_text(link),
             row.back()};
    }
    rows.push_back(std::move(row));
  };
  for (const LinkFit& link : fits.links) {
    add(fmt::format("{} -> {}", link.source, link.destination), link);
  }
  add("all", fits.all);
  return format_table(columns, rows);
}

std::string clocks_text(const Timeline& timeline) {
  Time uncertainty{};
  for (const RankClock& clock : timeline.clocks) {
    uncertainty = std::max(uncertainty, clock.uncertainty);
  }
  return uncertainty == Time{}  // They share one.
             ? ""
             : fmt::format(
                   "The ranks' clocks are known to {}: a single link may be off by as much, "
                   "its two ways together are not.\n",
                   format_time(uncertainty));
}

std::string header(const Timeline& timeline, const LinkFits& fits, const JitterConfig& jitter) {
  std::string text =
      fmt::format("What a step of {} on {} ranks with {} microbatches took.\n\n",
                  timeline.pipeline.name.empty() ? "a schedule" : timeline.pipeline.name,
                  timeline.pipeline.ranks(), timeline.pipeline.microbatches());
  text += slots_table(timeline);
  if (fits.all.messages > 0) {
    text +=
        "\nTransfers, from the send to when the receiver noticed. Only those whose receiver was "
        "waiting\ncount; what the others took longer is its being busy.\n\n";
    text += links_table(fits);
    text += "\n" + clocks_text(timeline);
    if (fits.all.has_sizes) {
      text +=
          "p2p is the time of the mean message, p2p_latency what of it does not depend on bytes.\n";
    } else {
      text += fmt::format("{}: latency and bandwidth cannot be told apart, and p2p is both.\n",
                          fits.all.bytes > 0.0 ? "All messages are of one size"
                                               : "The trace does not say how large messages are");
    }
  }
  text += fmt::format(
      "\nLogarithms deviate by {:.4f} among slots of a kind, by {:.4f} among "
      "transfers: [jitter].\n\n",
      jitter.op, jitter.transfer);
  return text;
}

}  // namespace

ExitCode run_calibrate(const CalibrateOptions& options) {
  const Timeline timeline = parse_timeline(read_file(options.trace_path), options.trace_path);
  Config config;
  config.pipeline.ranks = timeline.pipeline.ranks();
  config.pipeline.microbatches = timeline.pipeline.microbatches();
  config.pipeline.chunks = timeline.pipeline.placement.chunks();
  if (!timeline.pipeline.name.empty()) {
    config.pipeline.schedule = timeline.pipeline.name;
  }
  config.costs = calibrate(timeline);
  const LinkFits fits = fit_links(timeline);
  JitterConfig jitter;
  jitter.op = to_ten_thousandths(slot_log_deviation(timeline));
  jitter.transfer = to_ten_thousandths(fits.log_deviation);
  if (options.jitter) {
    config.jitter = jitter;
    if (fits.all.travel.count > 0) {  // Jitter's factors have a mean of 1, so it takes means.
      config.costs.p2p = CostNumber(fits.all.travel.mean, "the timeline");
    }
  }
  write_file(options.output, as_comment(header(timeline, fits, jitter)) + dump_config(config));
  return ExitCode::ok;
}

}  // namespace dualpipe
