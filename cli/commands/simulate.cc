// dualpipe-sim simulate: step time, bubbles and memory of one schedule.

#include "sim/simulate.h"

#include <string>

#include "cli/commands.h"
#include "cli/config.h"
#include "cli/subject.h"
#include "costs/error.h"
#include "render/report.h"
#include "scheduler/file.h"
#include "scheduler/pipeline.h"
#include "scheduler/program.h"
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

}  // namespace

ExitCode run_simulate(const SimulateOptions& options) {
  const Config config = resolve_config(options.subject);
  const Program program = compile_subject(load_subject(options.subject, config), config);
  const Timeline timeline = simulate(program, costs_for(program.schedule(), config),
                                     {.transfers = options.timeline_path.has_value()});
  if (options.timeline_path) {
    write_file(*options.timeline_path, to_json(timeline));
  }
  if (options.memory_path) {
    write_file(*options.memory_path, to_csv(memory_over_time(timeline)));
  }
  write_file("-", written(measure(timeline), timeline.pipeline, options.format));
  return ExitCode::ok;
}

}  // namespace dualpipe
