// dualpipe-sim check: the proof that a schedule is safe, or everything that is wrong with it.

#include "costs/check.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/config.h"
#include "cli/slot_grid.h"
#include "cli/subject.h"
#include "costs/cost_model.h"
#include "costs/error.h"
#include "scheduler/communication.h"
#include "scheduler/compile.h"
#include "scheduler/file.h"
#include "scheduler/lowered.h"
#include "scheduler/memory.h"
#include "scheduler/pipeline.h"
#include "scheduler/pipeline_json.h"
#include "scheduler/program.h"
#include "scheduler/schedule.h"

namespace dualpipe {
namespace {

constexpr std::array<Topology, 5> topologies{Topology::channel, Topology::edge, Topology::pair,
                                             Topology::direction, Topology::world};

Topology topology_of(std::string_view name) {
  const auto* found = std::find_if(topologies.begin(), topologies.end(),
                                   [&](Topology topology) { return to_string(topology) == name; });
  CHECK(found != topologies.end());  // The command line lets through no other word.
  return *found;
}

// How much a lane buffers, in messages and in bytes.
struct Buffering {
  int messages = 0;
  std::int64_t message_bytes = 1;
};

std::int64_t bytes_of(const char* option, const std::string& text) {
  const std::optional<std::int64_t> bytes = parse_bytes(text);
  if (!bytes) {
    throw Error(
        ExitCode::usage,
        fmt::format("{}: expected a whole number of bytes, or one with its unit (B, kB, MB, "
                    "GB, TB, KiB, MiB, GiB, TiB), such as 64KiB; found '{}'",
                    option, text.substr(0, 40)));
  }
  return *bytes;
}

Buffering buffering_of(const CheckOptions& options) {
  Buffering buffering{.message_bytes = bytes_of("--message-bytes", options.message_bytes)};
  constexpr std::int64_t message_bytes_max = std::int64_t{64} << 30;  // so that sums fit in 64 bits
  if (buffering.message_bytes == 0 || buffering.message_bytes > message_bytes_max) {
    throw Error(
        ExitCode::usage,
        fmt::format("--message-bytes: expected a message of 1 B to 64GiB, found {} B; write "
                    "for example --message-bytes 16MiB",
                    buffering.message_bytes));
  }
  const std::string asked = options.buffering.value_or("0");
  if (asked == "inf") {
    buffering.messages = unlimited;
  } else {
    const std::int64_t whole = bytes_of("--buffering", asked) / buffering.message_bytes;
    buffering.messages = static_cast<int>(std::min<std::int64_t>(whole, unlimited));
  }
  return buffering;
}

// How the ranks communicate.
struct Wiring {
  Topology topology = Topology::channel;
  bool grouped = false;
  int buffering = 0;  // messages per lane
};

Compilation compile_on(const Wiring& wiring, const Subject& subject) {
  if (subject.lowered) {
    return compile(*subject.lowered, wiring.topology, wiring.buffering);
  }
  TransportSemantics semantics{.topology = wiring.topology, .grouped = wiring.grouped};
  semantics.buffering = wiring.buffering;
  if (wiring.grouped || wiring.topology != Topology::channel) {
    semantics.receives_ahead = 0;
  }
  return compile(subject.schedule, semantics,
                 wiring.grouped ? grouped_communication(subject) : CommunicationOrder{});
}

// A rank that is over the limit is a violation as any other, if only what is there is known.
void add_memory(const Subject& subject, const Config& config, Compilation& result) {
  const bool complete =
      std::none_of(result.violations.begin(), result.violations.end(), [](const auto& violation) {
        return violation.kind == Violation::Kind::shape ||
               violation.kind == Violation::Kind::missing ||
               violation.kind == Violation::Kind::duplicate;
      });
  if (!config.pipeline.memory_limit || !complete) {
    return;
  }
  const MemoryLimit& limit = *config.pipeline.memory_limit;
  const std::vector<StageBytes> bytes = stage_bytes_of(costs_for(subject.schedule, config));
  for (const MemoryExcess& excess : find_excesses(subject.schedule, bytes, limit)) {
    result.program.reset();
    if (std::count_if(result.violations.begin(), result.violations.end(), [](const auto& one) {
          return one.kind == Violation::Kind::memory;
        }) == violations_max) {
      ++result.omitted;
      continue;
    }
    result.violations.push_back(
        {.kind = Violation::Kind::memory,
         .rank = excess.rank,
         .slot = excess.slot,
         .message = fmt::format(
             "rank {} keeps up to {} alive, and goes over the limit of {} in {}", excess.rank,
             to_string(MemoryLimit{.amount = excess.peak, .unit = limit.unit}), to_string(limit),
             to_string(subject.schedule.ranks[static_cast<std::size_t>(excess.rank)]
                                             [static_cast<std::size_t>(excess.slot)]))});
  }
}

// --- one topology ---

std::string in_words(const Buffering& buffering) {
  if (buffering.messages == 0) {
    return "rendezvous, zero buffering";
  }
  if (buffering.messages == unlimited) {
    return "unlimited buffering";
  }
  return fmt::format("buffering of {} message{} ({} B)", buffering.messages,
                     buffering.messages == 1 ? "" : "s",
                     buffering.messages * buffering.message_bytes);
}

std::string in_words(const Wiring& wiring, const Buffering& buffering) {
  const std::string per = wiring.topology == Topology::world
                              ? "for everything"
                              : fmt::format("per {}", to_string(wiring.topology));
  return fmt::format("one communicator {}, {}{}", per, in_words(buffering),
                     wiring.grouped ? ", grouped" : "");
}

std::string safe_text(const Program& program, const std::string& wiring) {
  const Pipeline& pipeline = program.pipeline();
  std::size_t slots = 0;
  for (const std::vector<Slot>& rank : program.schedule().ranks) {
    slots += rank.size();
  }
  return fmt::format(
      "{}: safe for every timing\n"
      "  {} ranks, {} stages, {} microbatches, {} direction{}; {} slots\n"
      "  complete, placed, ordered; {} messages on {} channels, matched at both ends\n"
      "  no deadlock: {}\n",
      pipeline.name, pipeline.ranks(), pipeline.stages(), pipeline.microbatches(),
      pipeline.placement.directions(), pipeline.placement.directions() == 1 ? "" : "s", slots,
      program.messages().size(), program.channels().size(), wiring);
}

// The rows of the schedule, with a mark at every slot that a violation names.
std::string marked_slots(const Compilation& result, const Subject& subject) {
  std::vector<RankSlot> marks = result.stuck;
  for (const Violation& violation : result.violations) {
    if (violation.slot >= 0) {
      marks.push_back({.rank = violation.rank, .slot = violation.slot});
    }
  }
  return marks.empty() ? "" : slot_grid(subject.schedule, marks);
}

std::string unsafe_text(const Compilation& result, const Subject& subject,
                        const std::string& wiring) {
  std::string text = fmt::format("{}: not safe ({})\n", subject.schedule.pipeline.name, wiring);
  for (const Violation& violation : result.violations) {
    const bool deadlock = violation.kind == Violation::Kind::deadlock;
    text += fmt::format("  {}: rank {}: {}\n", to_string(violation.kind), violation.rank,
                        deadlock ? "the ranks wait in a circle:" : violation.message);
    for (std::size_t wait = 0; deadlock && wait < result.cycle.size(); ++wait) {
      text += "    " + result.cycle[wait] + "\n";
    }
  }
  if (result.omitted > 0) {
    text += fmt::format("  and {} more\n", result.omitted);
  }
  return text + marked_slots(result, subject);
}

std::string as_text(const Compilation& result, const Subject& subject, const std::string& wiring) {
  std::string text =
      result.program ? safe_text(*result.program, wiring) : unsafe_text(result, subject, wiring);
  for (const std::string& warning : result.warnings) {
    text += fmt::format("  warning: {}\n", warning);
  }
  return text;
}

nlohmann::ordered_json as_json(const Compilation& result) {
  nlohmann::ordered_json document;
  document["schema_version"] = schema_version;
  document["ok"] = result.violations.empty();
  document["violations"] = nlohmann::ordered_json::array();
  for (const Violation& violation : result.violations) {
    document["violations"].push_back({{"kind", to_string(violation.kind)},
                                      {"rank", violation.rank},
                                      {"slot", violation.slot},
                                      {"message", violation.message}});
  }
  document["cycle"] = result.cycle;
  document["warnings"] = result.warnings;
  return document;
}

// --- all topologies ---

struct Row {
  Wiring wiring;
  std::string verdict;  // with no buffering: safe, or the kind of the first violation
  std::optional<int> smallest_buffering;  // messages; none: it is never safe
};

bool is_ok(const Row& row, const Buffering& buffering) {
  return row.smallest_buffering && *row.smallest_buffering <= buffering.messages;
}

// "message, deadlock".
std::string kinds_of(const std::vector<Violation>& violations) {
  std::vector<std::string_view> kinds;
  for (const Violation& violation : violations) {
    const std::string_view kind = to_string(violation.kind);
    if (std::find(kinds.begin(), kinds.end(), kind) == kinds.end()) {
      kinds.push_back(kind);
    }
  }
  return fmt::format("{}", fmt::join(kinds, ", "));
}

Row judge(const Wiring& wiring, const Compilation& result) {
  Row row{.wiring = wiring, .verdict = "safe", .smallest_buffering = 0};
  if (!result.program) {
    row.verdict = kinds_of(result.violations);
    row.smallest_buffering =
        result.violations.size() == 1 ? result.smallest_buffering : std::nullopt;
  }
  return row;
}

std::string as_table(const std::vector<Row>& rows, const Subject& subject,
                     const Buffering& buffering) {
  std::string text =
      fmt::format("{}: with {}\n", subject.schedule.pipeline.name, in_words(buffering));
  std::size_t verdict_width = 19;
  for (const Row& row : rows) {
    verdict_width = std::max(verdict_width, row.verdict.size() + 2);
  }
  text += fmt::format("  {:<11}{:<12}{:<{}}{}\n", "topology", "operations", "verdict",
                      verdict_width, "smallest buffering per lane");
  for (const Row& row : rows) {
    std::string needed = "none is enough";
    if (row.smallest_buffering) {
      needed = *row.smallest_buffering == 0
                   ? "0"
                   : fmt::format("{} message{}, {} B", *row.smallest_buffering,
                                 *row.smallest_buffering == 1 ? "" : "s",
                                 *row.smallest_buffering * buffering.message_bytes);
    }
    text += fmt::format("  {:<11}{:<12}{:<{}}{}\n", to_string(row.wiring.topology),
                        row.wiring.grouped ? "grouped" : "one by one",
                        is_ok(row, buffering) ? "safe" : row.verdict, verdict_width, needed);
  }
  return text;
}

nlohmann::ordered_json as_json(const std::vector<Row>& rows, const Buffering& buffering) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const Row& row : rows) {
    nlohmann::ordered_json entry{{"topology", to_string(row.wiring.topology)},
                                 {"grouped", row.wiring.grouped},
                                 {"ok", is_ok(row, buffering)},
                                 {"smallest_buffering", nullptr},
                                 {"smallest_buffering_bytes", nullptr}};
    if (row.smallest_buffering) {
      entry["smallest_buffering"] = *row.smallest_buffering;
      entry["smallest_buffering_bytes"] = *row.smallest_buffering * buffering.message_bytes;
    }
    list.push_back(entry);
  }
  return list;
}

// Every way of communicating that there is for the subject, or all that have groups; a lowered file
// has none.
std::vector<Wiring> all_wirings(const Subject& subject, bool grouped_only) {
  std::vector<Wiring> wirings;
  for (const bool grouped : {false, true}) {
    for (const Topology topology : topologies) {
      if (grouped ? !subject.lowered : !grouped_only) {
        wirings.push_back({.topology = topology, .grouped = grouped, .buffering = 0});
      }
    }
  }
  return wirings;
}

// Safe somewhere is safe; what is wrong everywhere is told of the first topology.
ExitCode check_all(const Subject& subject, const Config& config, const CheckOptions& options) {
  const Buffering buffering = buffering_of(options);
  std::vector<Row> rows;
  Compilation first;
  for (const Wiring& wiring : all_wirings(subject, options.grouped)) {
    Compilation result = compile_on(wiring, subject);
    add_memory(subject, config, result);
    rows.push_back(judge(wiring, result));
    if (rows.size() == 1) {
      first = std::move(result);
    }
  }
  const bool ok =
      std::any_of(rows.begin(), rows.end(), [&](const Row& row) { return is_ok(row, buffering); });
  if (ok) {
    Compilation safe;
    safe.warnings = std::move(first.warnings);
    first = std::move(safe);
  }
  if (options.format == "json") {
    nlohmann::ordered_json document = as_json(first);
    document["topologies"] = as_json(rows, buffering);
    write_file("-", document.dump() + "\n");
  } else {
    std::string text = as_table(rows, subject, buffering);
    for (const std::string& warning : first.warnings) {
      text += fmt::format("  warning: {}\n", warning);
    }
    if (!ok) {
      text += unsafe_text(first, subject, in_words(rows.front().wiring, Buffering{}));
    }
    write_file("-", text);
  }
  return ok ? ExitCode::ok : ExitCode::invalid_schedule;
}

// Whether the user has left it to us how the ranks communicate.
bool is_as_run(const CheckOptions& options, const Subject& subject) {
  return !subject.lowered && !options.grouped && options.topology.empty() && !options.buffering;
}

// As the runtime does: a communicator per channel, and the receives posted ahead that it takes.
std::string in_words(const Compilation& result) {
  const int ahead = result.program ? result.program->semantics().receives_ahead : 0;
  return fmt::format("one communicator per channel, rendezvous, {}",
                     ahead == 0
                         ? "receives posted ahead as needed"
                         : fmt::format("{} receive{} posted ahead", ahead, ahead == 1 ? "" : "s"));
}

}  // namespace

ExitCode run_check(const CheckOptions& options) {
  const Config config = resolve_config(options.subject);
  const Subject subject = load_subject_or_lowered(options.subject, config);
  if (options.grouped && subject.lowered) {
    throw Error(ExitCode::usage,
                "--grouped: a lowered file issues its sends and receives one by "
                "one; leave the option out");
  }
  if (options.topology == "all") {
    return check_all(subject, config, options);
  }
  const Buffering buffering = buffering_of(options);
  const std::string standard = subject.lowered ? "edge" : "channel";
  const Wiring wiring{
      .topology = topology_of(options.topology.empty() ? standard : options.topology),
      .grouped = options.grouped,
      .buffering = buffering.messages};
  const bool as_run = is_as_run(options, subject);
  Compilation result =
      as_run ? compile_with_least_buffers(subject.schedule) : compile_on(wiring, subject);
  add_memory(subject, config, result);
  const std::string words = as_run ? in_words(result) : in_words(wiring, buffering);
  write_file("-", options.format == "json" ? as_json(result).dump() + "\n"
                                           : as_text(result, subject, words));
  return result.violations.empty() ? ExitCode::ok : ExitCode::invalid_schedule;
}

}  // namespace dualpipe
