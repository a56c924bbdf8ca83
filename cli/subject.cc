#include "cli/subject.h"

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <variant>
#include <vector>

#include <fmt/format.h>

#include "cli/config.h"
#include "costs/cost_model.h"
#include "costs/derive.h"
#include "costs/error.h"
#include "scheduler/communication.h"
#include "scheduler/compile.h"
#include "scheduler/generate.h"
#include "scheduler/lowered.h"
#include "scheduler/memory.h"
#include "scheduler/pipeline.h"
#include "scheduler/program.h"
#include "scheduler/schedule.h"
#include "scheduler/text.h"
#include "sim/durations.h"
#include "sim/events.h"
#include "sim/network.h"
#include "sim/sensitivity.h"
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

// A file is read once: it may be stdin.
struct Document {
  std::string path;
  std::string text;
};

// None where a family is named.
std::optional<Document> document_of(const SubjectOptions& options, const Config& config) {
  const std::string& name = name_of(options, config);
  if (!names_file(name)) {
    return std::nullopt;
  }
  return Document{.path = name, .text = read_document(name)};
}

Subject subject_in(const Document& document, const SubjectOptions& options, Lowered lowered) {
  const auto& [path, text] = document;
  if (is_timeline(text)) {
    throw Error(ExitCode::usage, fmt::format("'{}' is a timeline, but a schedule is needed here; "
                                             "`render`, `explain`, `calibrate` and `diff` "
                                             "take timelines",
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

// The first step of the config's seed.
StepDurations drawn(const Program& program, const Config& config, const CostModel& costs) {
  const DurationSampler sampler(program, costs, variation_of(config));
  return sampler.draw(static_cast<std::uint64_t>(config.jitter.seed), 0);
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

Subject load(const std::optional<Document>& document, const SubjectOptions& options,
             const Config& config, Lowered lowered) {
  Subject subject;
  if (document) {
    subject = subject_in(*document, options, lowered);
  } else {
    const Family& family = find_family(name_of(options, config));
    const Shape shape = shape_of(config);
    require_supported(family, shape);
    Target target{.costs = costs_on(family.placement(shape), config),
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
  return load(document_of(options, config), options, config, Lowered::refused);
}

Subject load_subject_or_lowered(const SubjectOptions& options, const Config& config) {
  return load(document_of(options, config), options, config, Lowered::taken);
}

Placement placement_of(const SubjectOptions& options, const Config& config) {
  const std::string& name = name_of(options, config);
  if (names_file(name)) {
    return load_subject(options, config).schedule.pipeline.placement;
  }
  const Family& family = find_family(name);
  require_supported(family, shape_of(config));
  return family.placement(shape_of(config));
}

DerivedCosts derived_costs(const Placement& placement, const Config& config) {
  return derive_costs(
      {.model = config.model, .parallel = config.parallel, .hardware = config.hardware},
      {.ranks = placement.ranks,
       .stages = placement.stages(),
       .directions = placement.directions()});
}

CostModel costs_on(const Placement& placement, const Config& config) {
  return config.has_model()
             ? override_costs(derived_costs(placement, config).costs, config.costs, placement.ranks)
             : resolve_costs(config.costs, placement.ranks, placement.stages());
}

CostModel costs_for(const Schedule& schedule, const Config& config) {
  CostModel costs = costs_on(schedule.pipeline.placement, config);
  require_step_fits(costs, schedule.pipeline.microbatches());
  return costs;
}

CommunicationOrder grouped_communication(const Subject& subject) {
  const bool has_own = subject.family != nullptr &&
                       subject.family->reference_communication != nullptr &&
                       !is_forward_only(subject.schedule);
  return has_own ? subject.family->reference_communication(subject.shape) : CommunicationOrder{};
}

Program compile_subject(const Subject& subject, const Config& config) {
  Program program = program_or_throw(
      compile_for(network_of(config).mode, subject.schedule, grouped_communication(subject)),
      subject.schedule.pipeline.name);
  if (subject.family == nullptr) {
    require_within_limit(program.schedule(), config);
  }
  return program;
}

NetworkModel network_of(const Config& config) {
  const auto place = [](const auto& names, const std::string& name) {
    return std::ranges::find(names, name) - names.begin();
  };
  return {.mode = static_cast<NetworkModel::Mode>(place(network_modes, config.network.mode)),
          .sharing =
              static_cast<NetworkModel::Sharing>(place(network_sharings, config.network.sharing)),
          .blocking = config.network.blocking};
}

Variation variation_of(const Config& config) {
  return {.slot_sigma = config.jitter.op,
          .transfer_sigma = config.jitter.transfer,
          .microbatch_sigma = config.jitter.microbatch,
          .stage_factors = config.jitter.stage_factors,
          .rank_factors = config.jitter.rank_factors};
}

Timeline predict(const Program& program, const Config& config, const SimulationOptions& options) {
  if (network_of(config) == NetworkModel{} && variation_of(config) == Variation{}) {
    return simulate(program, costs_for(program.schedule(), config), options);
  }
  const CostModel costs = costs_for(program.schedule(), config);
  const StepDurations durations = drawn(program, config, costs);
  const NetworkModel network = network_of(config);
  return network == NetworkModel{} ? simulate(program, costs, durations, options)
                                   : simulate_events(program, costs, network, durations);
}

Time changed_step_time(const Program& program, const Config& config, const CostModel& costs,
                       int faster_rank) {
  const Variation variation = variation_of(config);
  StepDurations durations =
      variation == Variation{} ? nominal_durations(program, costs) : drawn(program, config, costs);
  if (faster_rank >= 0) {
    shorten_rank(program, faster_rank, durations);
  }
  const NetworkModel network = network_of(config);
  return makespan(network == NetworkModel{}
                      ? simulate(program, costs, durations, {.transfers = false})
                      : simulate_events(program, costs, network, durations));
}

std::variant<Timeline, Subject> load_timeline_or_subject(const SubjectOptions& options,
                                                         const Config& config) {
  const std::optional<Document> document = document_of(options, config);
  if (document && is_timeline(document->text)) {
    Timeline timeline = parse_timeline(document->text, document->path);
    check_shape_options(options, document->path, timeline.pipeline);
    return timeline;
  }
  return load(document, options, config, Lowered::refused);
}

Timeline load_timeline(const SubjectOptions& options, const Config& config) {
  std::variant<Timeline, Subject> loaded = load_timeline_or_subject(options, config);
  if (Timeline* timeline = std::get_if<Timeline>(&loaded)) {
    return std::move(*timeline);
  }
  return predict(compile_subject(std::get<Subject>(loaded), config), config);
}

}  // namespace dualpipe
