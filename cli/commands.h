// The commands of dualpipe-sim: each is a function of its options that writes its result to stdout
// or a file and returns the exit code. Errors are thrown.

#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "cli/subject.h"
#include "cli/work_queue.h"
#include "costs/error.h"

namespace dualpipe {

struct ListOptions {
  SubjectOptions subject;        // the shape for which closed forms are evaluated
  std::string format = "table";  // table, json
};
[[nodiscard]] ExitCode run_list(const ListOptions& options);

struct GenerateOptions {
  SubjectOptions subject;
  std::string output = "-";
  std::string format;  // json, csv, text; empty: by the output's extension, else json
};
[[nodiscard]] ExitCode run_generate(const GenerateOptions& options);

struct CostOptions {
  SubjectOptions subject;
  std::string format = "table";  // table, json
};
[[nodiscard]] ExitCode run_cost(const CostOptions& options);

struct CheckOptions {
  SubjectOptions subject;
  std::string topology;  // or "all"; empty: channel, or edge for a lowered file
  bool grouped = false;
  // Bytes per lane, with or without a unit, or inf. None: 0, and where nothing is said of topology
  // and groups either, the buffers that engines use.
  std::optional<std::string> buffering;
  std::string message_bytes = "1";  // so that buffering counts messages
  std::string format = "text";      // text, json
};
[[nodiscard]] ExitCode run_check(const CheckOptions& options);

struct SimulateOptions {
  SubjectOptions subject;
  std::string format = "table";  // table, json, csv
  std::optional<std::string> timeline_path;
  std::optional<std::string> memory_path;
  int samples = 0;  // steps with the config's jitter; 0: one
};
[[nodiscard]] ExitCode run_simulate(const SimulateOptions& options);

struct CompareOptions {
  SubjectOptions subject;              // its `subject` is unused
  std::vector<std::string> schedules;  // families or files; none: all families
  std::string format = "table";        // table, json, csv
};
[[nodiscard]] ExitCode run_compare(const CompareOptions& options);

struct ExplainOptions {
  SubjectOptions subject;        // a schedule, or a timeline
  std::string format = "table";  // table, json
};
[[nodiscard]] ExitCode run_explain(const ExplainOptions& options);

// The processes of a cluster that share a sweep. A function of its own for each side, because who
// leads writes and who serves only works.
struct SweepFarm {
  std::function<void(const SweepWork&)> lead;   // null in a process that serves
  std::function<void(const SweepWork&)> serve;  // null in the one that leads
};

struct SweepOptions {
  SubjectOptions subject;              // its `subject` is unused
  std::vector<std::string> schedules;  // families or files; none: the config's, or what is varied
  std::vector<std::string> varied;     // "ranks=4,8", "microbatches=16:128:16"
  std::string output = "-";
  bool resume = false;
  int jobs = 0;                          // threads; 0: one per core
  std::optional<SweepFarm> farm;         // none: threads alone
  std::function<bool()> is_interrupted;  // asked again and again; once true, the sweep ends (130)
};
[[nodiscard]] ExitCode run_sweep(const SweepOptions& options);

struct RenderOptions {
  SubjectOptions subject;             // its `subject` is unused
  std::vector<std::string> subjects;  // one, or two to be laid above each other
  std::string output = "-";
  std::string format;  // svg, text; empty: by the output's extension, text for stdout
  std::string style = "dualpipe";
  double width_inches = 7.0;
  bool number_reverse = false;
  bool ticks = false;
  bool colour = false;
  std::optional<int> chunk;  // of this stage, the two lanes of an overlapped pair instead
};
[[nodiscard]] ExitCode run_render(const RenderOptions& options);

struct DiffOptions {
  std::string predicted_path;
  std::string measured_path;
  std::optional<double> tolerance;  // of the step time, relative; beyond it exit 6
  std::string format = "table";     // table, json, csv
};
[[nodiscard]] ExitCode run_diff(const DiffOptions& options);

struct CalibrateOptions {
  std::string trace_path;
  std::string output = "-";
  bool jitter = false;  // set [jitter] too, rather than only show it
};
[[nodiscard]] ExitCode run_calibrate(const CalibrateOptions& options);

}  // namespace dualpipe
