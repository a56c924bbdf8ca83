#include "cli/run_report.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/run_options.h"
#include "costs/cost_model.h"
#include "render/report.h"
#include "render/table.h"
#include "render/units.h"
#include "runtime/train.h"
#include "scheduler/file.h"
#include "scheduler/pipeline.h"
#include "scheduler/pipeline_json.h"
#include "scheduler/program.h"
#include "trace/metrics.h"
#include "trace/timeline.h"

namespace dualpipe {
namespace {

// The step whose time is the median, the first left out where there are others: it warms up.
std::size_t typical_step(const TrainReport& report) {
  std::vector<std::size_t> order(report.step_time.size());
  std::iota(order.begin(), order.end(), 0);
  if (order.size() > 1) {
    order.erase(order.begin());
  }
  const auto middle = order.begin() + static_cast<std::ptrdiff_t>(order.size() / 2);
  std::nth_element(order.begin(), middle, order.end(), [&](std::size_t one, std::size_t other) {
    return report.step_time[one] < report.step_time[other];
  });
  return *middle;
}

std::vector<std::int64_t> counts(const std::vector<Time>& times) {
  std::vector<std::int64_t> values;
  for (const Time time : times) {
    values.push_back(time.count());
  }
  return values;
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
  document["max_gradient_difference"] = nullptr;
  if (report.max_gradient_difference) {
    document["max_gradient_difference"] = *report.max_gradient_difference;
  }
  document["model"] = options.model;
  document["microbatches"] = program.pipeline().microbatches();
  document["tail_time_ns"] = counts(report.tail_time);
  document["clock_uncertainty_ns"] = report.clock_uncertainty.count();
  document["clocks"] = nlohmann::ordered_json::array();
  for (const RankClock& clock : report.timelines.front().clocks) {
    document["clocks"].push_back({{"offset_ns", clock.offset.count()},
                                  {"drift_ns", clock.drift.count()},
                                  {"uncertainty_ns", clock.uncertainty.count()}});
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
  return clocks.size() < 2
             ? ""
             : fmt::format(
                   "Clocks: up to {} from rank 0's, known to {}; they drifted by up to {}. "
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
  const std::size_t typical = typical_step(report);
  std::string text = fmt::format("{} trained with {} over {}\n\n", options.model,
                                 program.pipeline().name, options.transport);
  const std::vector<Column> columns{{"step"}, {"loss"}, {"step time"}, {"after it"}};
  text += format_table(columns, rows);
  text += fmt::format("\nStep {}, the typical one:\n\n", first + typical + 1);
  text += metrics_table(program.pipeline(), measure(report.timelines[typical]));
  text += "\n" + clock_words(report.timelines[typical].clocks);
  if (report.max_gradient_difference) {
    text += *report.max_gradient_difference == 0.0
                ? "Gradients: bitwise equal to those without a pipeline, in every step.\n"
                : fmt::format("Gradients: up to {:g} from those without a pipeline.\n",
                              *report.max_gradient_difference);
  }
  return text;
}

}  // namespace

void write_report(const TrainReport& report, const RunOptions& options, const Program& program) {
  // The trace last: a full disk must not take the result of a long run with it.
  write_file("-", options.format == "json" ? as_json(report, options, program)
                                           : as_table(report, options, program));
  if (options.trace_path) {
    write_file(*options.trace_path, to_json(report.timelines[typical_step(report)]));
  }
}

}  // namespace dualpipe
