// What a command works on: the config, and the schedule or timeline that a positional argument
// names - a family, or a file in any of the written forms.

#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "cli/config.h"
#include "costs/cost_model.h"
#include "costs/derive.h"
#include "scheduler/communication.h"
#include "scheduler/generate.h"
#include "scheduler/lowered.h"
#include "scheduler/pipeline.h"
#include "scheduler/program.h"
#include "scheduler/schedule.h"
#include "sim/durations.h"
#include "sim/network.h"
#include "sim/simulate.h"
#include "trace/timeline.h"

namespace dualpipe {

// Options that most commands share. The shape options are shorter ways to say --set pipeline.*.
struct SubjectOptions {
  std::string subject;  // SCHEDULE or FILE; empty: pipeline.schedule of the config
  std::vector<std::string> config_paths;
  std::vector<std::string> sets;  // "key=value"
  std::optional<int> ranks;
  std::optional<int> microbatches;
  std::optional<int> chunks;
  std::optional<std::string> memory_limit;  // "8" stage activations, "40GiB"
  bool forward_only = false;
  bool dump_config = false;
  bool describe_config = false;
};

// Throws what load_config() throws.
[[nodiscard]] Config resolve_config(const SubjectOptions& options);

// A name with a '.' or '/' in it, "-" (stdin), or the name of an existing file that is no family's.
[[nodiscard]] bool names_file(const std::string& subject);

// A family and the shape asked of it, or a schedule from a file.
struct Subject {
  Schedule schedule;
  const Family* family = nullptr;          // null for a file
  Shape shape;                             // of the family
  std::optional<LoweredSchedule> lowered;  // of a file that has its own communication
};

[[nodiscard]] Shape shape_of(const Config& config);

// Throws Error: unknown family or unsupported shape (usage), unreadable file (input_output), a file
// that is no schedule (invalid_schedule), shape options that contradict a file (usage).
[[nodiscard]] Subject load_subject(const SubjectOptions& options, const Config& config);

// As load_subject(), but also takes a lowered file, whose schedule is then in both places.
[[nodiscard]] Subject load_subject_or_lowered(const SubjectOptions& options, const Config& config);

// Of a family's shape, without generating a schedule; or of a file's. Throws what load_subject()
// throws.
[[nodiscard]] Placement placement_of(const SubjectOptions& options, const Config& config);

// What the config's model costs on this placement. Requires: config.has_model(). Throws what
// derive_costs() throws.
[[nodiscard]] DerivedCosts derived_costs(const Placement& placement, const Config& config);

// Derived, where the config has a model, and overridden; or as its [costs] say.
[[nodiscard]] CostModel costs_on(const Placement& placement, const Config& config);

// Requires: a schedule that has been compiled. Throws what costs_on() and require_step_fits()
// throw.
[[nodiscard]] CostModel costs_for(const Schedule& schedule, const Config& config);

// A reference implementation's own order of grouped communication; empty where the family has none.
[[nodiscard]] CommunicationOrder grouped_communication(const Subject& subject);

// The program that engines run, with the communication of the config's network. Throws what
// program_or_throw() throws, and Error (infeasible) where
// a file's schedule keeps more alive than the config's memory limit; load_subject() has seen to a
// family's.
[[nodiscard]] Program compile_subject(const Subject& subject, const Config& config);

[[nodiscard]] NetworkModel network_of(const Config& config);
[[nodiscard]] Variation variation_of(const Config& config);

// The step of a program of compile_subject(): by simulate(), or by simulate_events() where the
// config's network needs it; under the config's jitter, where there is any, the first step of its
// seed. Throws what costs_for() and DurationSampler throw.
[[nodiscard]] Timeline predict(const Program& program, const Config& config,
                               const SimulationOptions& options = {});

// How long that step is with other costs, and with the slots of one rank one per cent faster where
// `faster_rank` is none below 0.
[[nodiscard]] Time changed_step_time(const Program& program, const Config& config,
                                     const CostModel& costs, int faster_rank);

// What a file holds, a timeline or a schedule; or a family's schedule. Throws what load_subject()
// and parse_timeline() throw.
[[nodiscard]] std::variant<Timeline, Subject> load_timeline_or_subject(
    const SubjectOptions& options, const Config& config);

// The timeline in a file; or the simulated timeline of a schedule.
// Throws what load_subject(), compile_or_throw() and parse_timeline() throw.
[[nodiscard]] Timeline load_timeline(const SubjectOptions& options, const Config& config);

}  // namespace dualpipe
