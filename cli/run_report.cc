#include "cli/run_report.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

#include "cli/gpu_run.h"
#include "cli/run_options.h"
#include "costs/cost_model.h"
#include "costs/error.h"
#include "render/report.h"
#include "render/table.h"
#include "render/units.h"
#include "runtime/models/math.h"
#include "runtime/step_memory.h"
#include "runtime/train.h"
#include "runtime/verification.h"
#include "scheduler/file.h"
#include "scheduler/pipeline.h"
#include "scheduler/pipeline_json.h"
#include "scheduler/program.h"
#include "trace/metrics.h"
#include "trace/timeline.h"

namespace dualpipe {
namespace {

std::vector<std::int64_t> counts(const std::vector<Time>& times) {
  std::vector<std::int64_t> values;
  for (const Time time : times) {
    values.push_back(time.count());
  }
  return values;
}

// What --verify has found.
struct Verdict {
  bool agree = false;
  std::string words;
};

// How far a gradient may be from that without a pipeline, over the largest of its stage.
double tolerance_of(const RunOptions& options, const Program& program) {
  constexpr double of_bfloat16 = 2e-2;
  constexpr double of_another_order = 1e-4;
  if (options.sizes.precision == ProductPrecision::bfloat16) {
    return of_bfloat16;
  }
  const bool exact =
      !is_gpu_transport(options.transport) && sums_in_plain_order(program.pipeline());
  return exact ? 0.0 : of_another_order;
}

std::optional<Verdict> verdict_of(const TrainReport& report, const RunOptions& options,
                                  const Program& program) {
  if (!report.max_gradient_difference || !report.max_relative_gradient_difference) {
    return std::nullopt;
  }
  const double relative = *report.max_relative_gradient_difference;
  const double tolerance = tolerance_of(options, program);
  if (relative == 0.0) {
    return Verdict{.agree = true,
                   .words = "Gradients: bitwise equal to those without a pipeline, in every step."};
  }
  if (!std::isfinite(relative)) {
    return Verdict{.agree = false,
                   .words =
                       "Gradients: some are infinite or not a number; try a smaller "
                       "--learning-rate."};
  }
  return Verdict{.agree = relative <= tolerance,
                 .words = fmt::format(
                     "Gradients: up to {:g} from those without a pipeline, {:g} of the "
                     "largest of their stage; expected {}.",
                     *report.max_gradient_difference, relative,
                     tolerance > 0.0 ? fmt::format("at most {:g}", tolerance) : "equal bits")};
}

// JSON has no other numbers.
nlohmann::ordered_json finite_or_null(const std::optional<double>& value) {
  return value && std::isfinite(*value) ? nlohmann::ordered_json(*value)
                                        : nlohmann::ordered_json(nullptr);
}

std::string memory_table(const std::vector<StepBytes>& memory) {
  std::vector<std::vector<std::string>> rows;
  for (const StepBytes& bytes : memory) {
    rows.push_back(
        {std::to_string(rows.size()), format_bytes(bytes.planned), format_bytes(bytes.measured)});
  }
  const std::vector<Column> columns{{"rank"}, {"planned"}, {"in use"}};
  return "\nActivations and messages of a step, at their peak:\n\n" + format_table(columns, rows) +
         "\n";
}

std::string as_json(const TrainReport& report, const RunOptions& options, const Program& program) {
  nlohmann::ordered_json document;
  document["schema_version"] = schema_version;
  document["schedule"] = program.pipeline().name;
  document["ranks"] = program.pipeline().ranks();
  document["transport"] = options.transport;
  document["steps"] = options.steps;
  if (report.first_step > 0) {
    document["first_step"] = report.first_step;
  }
  document["loss"] = report.loss;
  document["step_time_ns"] = counts(report.step_time);
  document["max_gradient_difference"] = finite_or_null(report.max_gradient_difference);
  document["model"] = options.model;
  document["microbatches"] = program.pipeline().microbatches();
  document["tail_time_ns"] = counts(report.tail_time);
  document["clock_uncertainty_ns"] = report.clock_uncertainty.count();
  document["clocks"] = nlohmann::ordered_json::array();
  for (const RankClock& clock : report.typical.clocks) {
    document["clocks"].push_back({{"offset_ns", clock.offset.count()},
                                  {"drift_ns", clock.drift.count()},
                                  {"uncertainty_ns", clock.uncertainty.count()}});
  }
  document["memory"] = nlohmann::ordered_json::array();
  for (const StepBytes& bytes : report.memory) {
    document["memory"].push_back(
        {{"planned_bytes", bytes.planned}, {"measured_bytes", bytes.measured}});
  }
  if (const std::optional<Verdict> verdict = verdict_of(report, options, program)) {
    document["gradients_agree"] = verdict->agree;
    document["max_relative_gradient_difference"] =
        finite_or_null(report.max_relative_gradient_difference);
  }
  return document.dump() + "\n";
}

// How far the times of one rank may be trusted beside those of another.
std::string clock_words(const std::vector<RankClock>& clocks) {
  RankClock largest;
  for (const RankClock& clock : clocks) {
    largest.offset = std::max(largest.offset, std::chrono::abs(clock.offset));
    largest.drift = std::max(largest.drift, std::chrono::abs(clock.drift));
    largest.uncertainty = std::max(largest.uncertainty, clock.uncertainty);
  }
  return largest.uncertainty == std::chrono::nanoseconds(0)  // All ranks read one clock.
             ? ""
             : fmt::format(
                   "\nClocks: up to {} from rank 0's, known to {}; they drifted by up to {}. "
                   "Both are taken out.\n",
                   format_time(largest.offset), format_time(largest.uncertainty),
                   format_time(largest.drift));
}

std::string as_table(const TrainReport& report, const RunOptions& options, const Program& program) {
  std::vector<std::vector<std::string>> rows;
  const std::size_t steps = report.loss.size();
  const std::size_t stride = std::max<std::size_t>(1, steps / 10);
  const std::size_t first = static_cast<std::size_t>(report.first_step);
  for (std::size_t step = 0; step < steps; ++step) {
    if (step % stride == 0 || step + 1 == steps) {
      rows.push_back({std::to_string(first + step + 1), fmt::format("{:.4f}", report.loss[step]),
                      format_time(report.step_time[step]), format_time(report.tail_time[step])});
    }
  }
  std::string text = fmt::format("{} trained with {} over {}\n\n", options.model,
                                 program.pipeline().name, options.transport);
  const std::vector<Column> columns{{"step"}, {"loss"}, {"step time"}, {"after it"}};
  text += format_table(columns, rows);
  text += fmt::format("\nStep {}, the typical one:\n\n", first + report.typical_step + 1);
  text += metrics_table(program.pipeline(), measure(report.typical));
  text += clock_words(report.typical.clocks);
  text += memory_table(report.memory);
  if (const std::optional<Verdict> verdict = verdict_of(report, options, program)) {
    text += verdict->words + "\n";
  }
  return text;
}

}  // namespace

ExitCode write_report(const TrainReport& report, const RunOptions& options,
                      const Program& program) {
  // The trace last: a full disk must not take the result of a long run with it.
  write_file("-", options.format == "json" ? as_json(report, options, program)
                                           : as_table(report, options, program));
  if (options.trace_path) {
    write_file(*options.trace_path, to_json(report.typical), FileCare::personal);
  }
  const std::optional<Verdict> verdict = verdict_of(report, options, program);
  if (verdict && !verdict->agree) {
    spdlog::error("{}", verdict->words);
    return ExitCode::outside_tolerance;
  }
  return ExitCode::ok;
}

}  // namespace dualpipe
