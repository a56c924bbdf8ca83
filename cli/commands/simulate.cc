// dualpipe-sim simulate: step time, bubbles and memory of one schedule; or of many steps of it.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

#include "cli/commands.h"
#include "cli/config.h"
#include "cli/interrupts.h"
#include "cli/progress.h"
#include "cli/subject.h"
#include "costs/cost_model.h"
#include "costs/error.h"
#include "render/report.h"
#include "render/table.h"
#include "render/units.h"
#include "scheduler/file.h"
#include "scheduler/pipeline.h"
#include "scheduler/pipeline_json.h"
#include "scheduler/program.h"
#include "sim/monte_carlo.h"
#include "trace/memory_profile.h"
#include "trace/metrics.h"
#include "trace/timeline.h"

namespace dualpipe {
namespace {

std::string written(const Metrics& metrics, const Pipeline& pipeline, const std::string& format) {
  if (format == "json") {
    return to_json(metrics, pipeline);
  }
  return format == "csv" ? to_csv(metrics) : metrics_table(pipeline, metrics);
}

// Costs are those of a machine, so its memory is known; a limit is for people to set.
void warn_of_memory(const Metrics& metrics, const Config& config) {
  const auto fullest = std::ranges::max_element(
      metrics.ranks, {}, [](const RankMetrics& rank) { return rank.peak_memory.total(); });
  const double memory = config.hardware.memory_gb * 1e9;
  if (!config.has_model() || memory == 0.0 || fullest == metrics.ranks.end() ||
      static_cast<double>(fullest->peak_memory.total()) <= memory) {
    return;
  }
  spdlog::warn(
      "rank {} keeps {} alive, but a GPU has {} (hardware.memory_gb): this would run out "
      "of memory",
      fullest - metrics.ranks.begin(), format_bytes(fullest->peak_memory.total()),
      format_bytes(std::llround(memory)));
}

Time nearest(double nanoseconds) {
  return Time(std::llround(nanoseconds));
}

std::string as_table(const MonteCarlo& steps, const Pipeline& pipeline) {
  std::string text = headline(pipeline);
  text += fmt::format("\n{} steps; with the costs as they are one takes {}\n\n", steps.samples,
                      format_time(steps.nominal_step_time));
  const TimeUnit unit = unit_of(steps.longest);
  std::vector<std::vector<std::string>> cells;
  const auto row = [&](const std::string& name, Time value, const std::string& between) {
    const double over =
        static_cast<double>(value.count()) / static_cast<double>(steps.nominal_step_time.count()) -
        1.0;
    cells.push_back({name, format_time_in(value, unit), between,
                     steps.nominal_step_time == Time{} ? "" : fmt::format("{:+.2f}%", 100 * over)});
  };
  const auto interval = [&](Time low, Time high) {
    return fmt::format("{} .. {}", format_time_in(low, unit), format_time_in(high, unit));
  };
  row("shortest", steps.shortest, "");
  for (const Percentile& one : steps.percentiles) {
    row(fmt::format("p{}", one.percent), one.value, interval(one.low, one.high));
  }
  row("longest", steps.longest, "");
  row("mean", nearest(steps.mean),
      interval(nearest(steps.mean - steps.mean_error), nearest(steps.mean + steps.mean_error)));
  const std::vector<Column> columns{{"step time", Align::left},
                                    {fmt::format("({})", unit.name)},
                                    {"95 % of the time between", Align::left},
                                    {"over the costs'"}};
  text += format_table(columns, cells);
  return text + fmt::format("\nstandard deviation  {}\nmean bubble         {}\n",
                            format_time(nearest(steps.deviation)),
                            format_percent(steps.bubble_ratio));
}

std::string as_json(const MonteCarlo& steps, const Pipeline& pipeline, int seed) {
  nlohmann::ordered_json document;
  document["schema_version"] = schema_version;
  document["schedule"] = {{"name", pipeline.name},
                          {"ranks", pipeline.ranks()},
                          {"stages", pipeline.stages()},
                          {"microbatches", pipeline.microbatches()}};
  document["samples"] = steps.samples;
  document["seed"] = seed;
  document["nominal_step_time"] = steps.nominal_step_time.count();
  document["mean"] = steps.mean;
  document["mean_error"] = steps.mean_error;
  document["standard_deviation"] = steps.deviation;
  document["shortest"] = steps.shortest.count();
  document["longest"] = steps.longest.count();
  document["percentiles"] = nlohmann::ordered_json::array();
  for (const Percentile& one : steps.percentiles) {
    document["percentiles"].push_back({{"percent", one.percent},
                                       {"step_time", one.value.count()},
                                       {"low", one.low.count()},
                                       {"high", one.high.count()}});
  }
  document["bubble_ratio"] = steps.bubble_ratio;
  document["ranks"] = nlohmann::ordered_json::array();
  for (const double ratio : steps.rank_bubble_ratios) {
    document["ranks"].push_back({{"bubble_ratio", ratio}});
  }
  return document.dump() + "\n";
}

ExitCode simulate_many(const SimulateOptions& options, const Config& config,
                       const Program& program) {
  if (options.timeline_path || options.memory_path || options.format == "csv") {
    throw Error(ExitCode::usage,
                "--samples: expected a table or JSON of many steps; --timeline, --memory and "
                "--format csv are about one; leave --samples out");
  }
  const Interrupts interrupts;
  Progress progress(0, static_cast<std::size_t>(options.samples));
  const auto show = [&](int done) {
    progress.show(static_cast<std::size_t>(done));
    return !interrupts.requested();
  };
  const int threads = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  const MonteCarlo steps =
      monte_carlo(program, costs_for(program.schedule(), config), variation_of(config),
                  {.samples = options.samples,
                   .seed = static_cast<std::uint64_t>(config.jitter.seed),
                   .threads = threads,
                   .network = network_of(config),
                   .progress = show});
  if (interrupts.requested()) {
    throw Error(ExitCode::interrupted,
                fmt::format("interrupted after {} of {} samples; nothing is printed of fewer",
                            steps.samples, options.samples));
  }
  write_file("-", options.format == "json" ? as_json(steps, program.pipeline(), config.jitter.seed)
                                           : as_table(steps, program.pipeline()));
  return ExitCode::ok;
}

}  // namespace

ExitCode run_simulate(const SimulateOptions& options) {
  if (options.timeline_path == "-" && options.memory_path == "-") {
    throw Error(
        ExitCode::usage,
        "--timeline - and --memory -: expected one document on stdout, found two; write one "
        "of them to a file");
  }
  const Config config = resolve_config(options.subject);
  const Program program = compile_subject(load_subject(options.subject, config), config);
  if (options.samples > 0) {
    return simulate_many(options, config, program);
  }
  const Timeline timeline =
      predict(program, config, {.transfers = options.timeline_path.has_value()});
  if (options.timeline_path) {
    write_file(*options.timeline_path, to_json(timeline));
  }
  if (options.memory_path) {
    write_file(*options.memory_path, to_csv(memory_over_time(timeline)));
  }
  const Metrics metrics = measure(timeline);
  warn_of_memory(metrics, config);
  write_file("-", written(metrics, timeline.pipeline, options.format));
  return ExitCode::ok;
}

}  // namespace dualpipe
