// dualpipe-sim check: the proof that a schedule is safe, or everything that is wrong with it.

#include "costs/check.h"

#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/subject.h"
#include "costs/error.h"
#include "scheduler/communication.h"
#include "scheduler/compile.h"
#include "scheduler/file.h"
#include "scheduler/pipeline.h"
#include "scheduler/pipeline_json.h"
#include "scheduler/program.h"

namespace dualpipe {
namespace {

Topology topology_of(std::string_view name) {
  constexpr std::array<std::pair<std::string_view, Topology>, 5> topologies{
      {{"channel", Topology::channel},
       {"edge", Topology::edge},
       {"pair", Topology::pair},
       {"direction", Topology::direction},
       {"world", Topology::world}}};
  for (const auto& [known, topology] : topologies) {
    if (known == name) {
      return topology;
    }
  }
  CHECK(false);  // The command line has let through another word.
  return Topology::channel;
}

TransportSemantics semantics_of(const CheckOptions& options) {
  TransportSemantics semantics{.topology = topology_of(options.topology)};
  semantics.grouped = options.grouped;
  if (options.grouped || semantics.topology != Topology::channel) {
    semantics.receives_ahead = 0;
  }
  return semantics;
}

std::string under(const CheckOptions& options) {
  return fmt::format("one communicator per {}{}, rendezvous, zero buffering", options.topology,
                     options.grouped ? ", grouped" : "");
}

std::string as_text(const Compilation& result, const Subject& subject,
                    const CheckOptions& options) {
  const Pipeline& pipeline = subject.schedule.pipeline;
  if (result.program) {
    std::size_t slots = 0;
    for (const auto& rank : result.program->schedule().ranks) {
      slots += rank.size();
    }
    return fmt::format(
        "{}: safe for every timing\n"
        "  {} ranks, {} stages, {} microbatches, {} direction{}; {} slots\n"
        "  complete, placed, ordered; {} messages on {} channels, matched at both ends\n"
        "  no deadlock: {}\n",
        pipeline.name, pipeline.ranks(), pipeline.stages(), pipeline.microbatches(),
        pipeline.placement.directions(), pipeline.placement.directions() == 1 ? "" : "s", slots,
        result.program->messages().size(), result.program->channels().size(), under(options));
  }
  std::string text = fmt::format("{}: not safe ({})\n", pipeline.name, under(options));
  for (const Violation& violation : result.violations) {
    text += fmt::format("  {}: rank {}: {}\n", to_string(violation.kind), violation.rank,
                        violation.kind == Violation::Kind::deadlock ? "the ranks wait in a circle:"
                                                                    : violation.message);
  }
  for (const std::string& wait : result.cycle) {
    text += "    " + wait + "\n";
  }
  if (result.omitted > 0) {
    text += fmt::format("  and {} more\n", result.omitted);
  }
  return text;
}

std::string as_json(const Compilation& result) {
  nlohmann::ordered_json document;
  document["schema_version"] = schema_version;
  document["ok"] = result.program.has_value();
  document["violations"] = nlohmann::ordered_json::array();
  for (const Violation& violation : result.violations) {
    document["violations"].push_back({{"kind", to_string(violation.kind)},
                                      {"rank", violation.rank},
                                      {"slot", violation.slot},
                                      {"message", violation.message}});
  }
  document["cycle"] = result.cycle;
  document["warnings"] = nlohmann::ordered_json::array();
  return document.dump() + "\n";
}

}  // namespace

ExitCode run_check(const CheckOptions& options) {
  const Subject subject = load_subject(options.subject, resolve_config(options.subject));
  CommunicationOrder communication;
  if (options.grouped && subject.family != nullptr &&
      subject.family->reference_communication != nullptr) {
    communication = subject.family->reference_communication(subject.shape);
  }
  const Compilation result = compile(subject.schedule, semantics_of(options), communication);
  write_file("-", options.format == "json" ? as_json(result) : as_text(result, subject, options));
  return result.program ? ExitCode::ok : ExitCode::invalid_schedule;
}

}  // namespace dualpipe
