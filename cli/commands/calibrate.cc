// dualpipe-sim calibrate: the costs that a measured timeline shows, as a config.

#include "trace/calibrate.h"

#include "cli/commands.h"
#include "cli/config.h"
#include "costs/error.h"
#include "scheduler/file.h"
#include "trace/timeline.h"

namespace dualpipe {

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
  write_file(options.output, dump_config(config));
  return ExitCode::ok;
}

}  // namespace dualpipe
