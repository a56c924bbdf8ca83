#include "cli/subject.h"

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "cli/config.h"
#include "costs/cost_model.h"
#include "costs/error.h"
#include "scheduler/compile.h"
#include "scheduler/generate.h"
#include "scheduler/lowered.h"
#include "scheduler/memory.h"
#include "scheduler/pipeline.h"
#include "scheduler/program.h"
#include "scheduler/schedule.h"
#include "scheduler/text.h"
#include "sim/simulate.h"
#include "trace/timeline.h"

namespace dualpipe {
namespace {

bool is_family(const std::string& name) {
  const auto all = families();
  return std::any_of(all.begin(), all.end(),
                     [&](const Family* family) { return family->name == name; });
}

// A file says its own shape; an option that says another is a mistake worth a word.
void check_shape_options(const SubjectOptions& options, const std::string& file,
                         const Pipeline& pipeline) {
  const auto check = [&](const char* option, const std::optional<int>& asked, int found) {
    if (asked && *asked != found) {
      throw Error(ExitCode::usage, fmt::format("{} {} was given, but '{}' has {}; leave the option "
                                               "out for a file",
                                               option, *asked, file, found));
    }
  };
  check("--ranks", options.ranks, pipeline.ranks());
  check("--microbatches", options.microbatches, pipeline.microbatches());
  check("--chunks", options.chunks, pipeline.placement.chunks());
}

const std::string& name_of(const SubjectOptions& options, const Config& config) {
  return options.subject.empty() ? config.pipeline.schedule : options.subject;
}

enum class Lowered : std::uint8_t { refused, taken };

Subject load_schedule_file(const std::string& path, const SubjectOptions& options,
                           Lowered lowered) {
  const std::string text = read_document(path);
  if (is_timeline(text)) {
    throw Error(ExitCode::usage, fmt::format("'{}' is a timeline, but a schedule is needed here; "
                                             "`render` and `diff` take timelines",
                                             path));
  }
  Subject subject;
  if (lowered == Lowered::taken && is_lowered(text)) {
    subject.lowered = parse_lowered(text, path);
    subject.schedule = subject.lowered->schedule;
  } else {
    subject.schedule = parse_schedule(text, path);
  }
  check_shape_options(options, path, subject.schedule.pipeline);
  return subject;
}

// Requires: a schedule that is complete.
void require_within_limit(const Schedule& schedule, const Config& config) {
  if (!config.pipeline.memory_limit) {
    return;
  }
  const MemoryLimit& limit = *config.pipeline.memory_limit;
  const std::vector<StageBytes> bytes = stage_bytes_of(costs_for(schedule, config));
  if (const std::optional<MemoryExcess> excess = find_excess(schedule, bytes, limit)) {
    throw Error(
        ExitCode::infeasible,
        fmt::format("{} keeps {} alive on rank {}, but the memory limit is {}; raise it, or "
                    "take a schedule that keeps less",
                    schedule.pipeline.name,
                    to_string(MemoryLimit{.amount = excess->peak, .unit = limit.unit}),
                    excess->rank, to_string(limit)));
  }
}

// What inference keeps has nothing to do with what the family needs for training.
void make_forward_only(Subject& subject, const Config& config) {
  if (subject.lowered) {
    throw Error(ExitCode::usage,
                fmt::format("'{}' has its communication in it, of which forward_only would leave "
                            "half; leave it out, or take the form without communication",
                            subject.schedule.pipeline.name));
  }
  subject.schedule = forward_only(std::move(subject.schedule));
  if (subject.family != nullptr) {
    require_within_limit(subject.schedule, config);
  }
}

Subject load(const SubjectOptions& options, const Config& config, Lowered lowered) {
  const std::string& name = name_of(options, config);
  Subject subject;
  if (names_file(name)) {
    subject = load_schedule_file(name, options, lowered);
  } else {
    const Family& family = find_family(name);
    const Shape shape = shape_of(config);
    require_supported(family, shape);
    const int stages = family.placement(shape).stages();
    Target target{.costs = resolve_costs(config.costs, shape.ranks, stages),
                  .memory = config.pipeline.memory_limit,
                  .effort = config.pipeline.effort};
    if (config.pipeline.forward_only) {  // Half of it goes: neither limit nor effort is for that.
      target.memory.reset();
      target.effort = 0;
    }
    subject = {.schedule = generate(family, shape, target),
               .family = &family,
               .shape = shape,
               .lowered = {}};
  }
  if (config.pipeline.forward_only) {
    make_forward_only(subject, config);
  }
  return subject;
}

}  // namespace

Config resolve_config(const SubjectOptions& options) {
  std::vector<std::string> sets = options.sets;
  const auto add = [&](const char* key, const std::optional<int>& value) {
    if (value) {
      sets.push_back(fmt::format("pipeline.{}={}", key, *value));
    }
  };
  add("ranks", options.ranks);
  add("microbatches", options.microbatches);
  add("chunks", options.chunks);
  if (options.memory_limit) {
    sets.push_back(fmt::format("pipeline.memory_limit=\"{}\"", *options.memory_limit));
  }
  if (options.forward_only) {
    sets.emplace_back("pipeline.forward_only=true");
  }
  return load_config(options.config_paths, sets);
}

bool names_file(const std::string& subject) {
  std::error_code ignored;  // What cannot be looked at is no file to us.
  return subject == "-" || subject.find_first_of("./") != std::string::npos ||
         (!is_family(subject) && std::filesystem::is_regular_file(subject, ignored));
}

Shape shape_of(const Config& config) {
  return {.ranks = config.pipeline.ranks,
          .microbatches = config.pipeline.microbatches,
          .chunks = config.pipeline.chunks};
}

Subject load_subject(const SubjectOptions& options, const Config& config) {
  return load(options, config, Lowered::refused);
}

Subject load_subject_or_lowered(const SubjectOptions& options, const Config& config) {
  return load(options, config, Lowered::taken);
}

CostModel costs_for(const Schedule& schedule, const Config& config) {
  CostModel costs =
      resolve_costs(config.costs, schedule.pipeline.ranks(), schedule.pipeline.stages());
  require_step_fits(costs, schedule.pipeline.microbatches());
  return costs;
}

Program compile_subject(const Subject& subject, const Config& config) {
  Program program = compile_or_throw(subject.schedule);
  if (subject.family == nullptr) {
    require_within_limit(program.schedule(), config);
  }
  return program;
}

Timeline load_timeline(const SubjectOptions& options, const Config& config) {
  const std::string& name = name_of(options, config);
  if (names_file(name)) {
    const std::string text = read_document(name);
    if (is_timeline(text)) {
      Timeline timeline = parse_timeline(text, name);
      check_shape_options(options, name, timeline.pipeline);
      return timeline;
    }
  }
  const Program program = compile_subject(load_subject(options, config), config);
  return simulate(program, costs_for(program.schedule(), config));
}

}  // namespace dualpipe
