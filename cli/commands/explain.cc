// dualpipe-sim explain: where the time of a step goes - every rank's idle time by cause, the
// critical path, what a faster part would gain, and the published formula beside the simulation.

#include <algorithm>
#include <array>
#include <cstddef>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/config.h"
#include "cli/subject.h"
#include "costs/cost_model.h"
#include "costs/error.h"
#include "render/report.h"
#include "render/table.h"
#include "render/units.h"
#include "scheduler/compile.h"
#include "scheduler/file.h"
#include "scheduler/generate.h"
#include "scheduler/pipeline.h"
#include "scheduler/pipeline_json.h"
#include "scheduler/program.h"
#include "scheduler/schedule.h"
#include "sim/closed_form.h"
#include "sim/durations.h"
#include "sim/network.h"
#include "sim/sensitivity.h"
#include "trace/attribution.h"
#include "trace/calibrate.h"
#include "trace/critical_path.h"
#include "trace/timeline.h"

namespace dualpipe {
namespace {

struct Formula {
  std::string_view words;
  PublishedTime published;
};

struct Explanation {
  Timeline timeline;
  bool calibrated = false;  // costs are what the timeline shows, not the config's
  Time step_time{};
  std::vector<IdleCauses> ranks;
  IdleCauses overall;
  std::vector<Piece> path;
  std::vector<Sensitivity> sensitivity;
  Time simulated{};                // step time, by which the sensitivities are measured
  std::optional<Formula> formula;  // none for a file
};

const Span& span_of(const Timeline& timeline, const RankSlot& slot) {
  return timeline.ranks[static_cast<std::size_t>(slot.rank)][static_cast<std::size_t>(slot.slot)];
}

// Of what ran: "0F0", "optimizer".
std::string name_of(const Piece& piece, const Timeline& timeline) {
  if (piece.kind == Piece::Kind::tail) {
    return std::string(to_string(timeline.tail[static_cast<std::size_t>(piece.slot.slot)].kind));
  }
  return to_string(span_of(timeline, piece.slot).slot);
}

double share(Time part, Time whole) {
  return whole == Time{} ? 0.0
                         : static_cast<double>(part.count()) / static_cast<double>(whole.count());
}

// The idle time of all ranks is added up.
void require_idle_fits(Time step_time, int ranks) {
  constexpr double sum_max = 4e18;  // ns
  const double sum = static_cast<double>(step_time.count()) * ranks;
  if (sum > sum_max) {
    throw Error(ExitCode::usage,
                fmt::format("a step of {} on {} ranks: expected at most {:.0e} ns of all ranks "
                            "together, found {:.1e}; lower the costs or the ranks",
                            format_time(step_time), ranks, sum_max, sum));
  }
}

Explanation explained(Timeline timeline, const CostModel& costs, const StepTime& step_time) {
  Explanation explanation;
  explanation.timeline = std::move(timeline);
  explanation.step_time = makespan(explanation.timeline);
  require_idle_fits(explanation.step_time, explanation.timeline.pipeline.ranks());
  explanation.ranks = attribute_idle(explanation.timeline, costs);
  for (const IdleCauses& rank : explanation.ranks) {
    explanation.overall += rank;
  }
  explanation.path = critical_path(explanation.timeline);
  explanation.sensitivity = sensitivities(explanation.timeline.pipeline, costs, step_time);
  explanation.simulated = step_time(costs, -1);
  return explanation;
}

Explanation explain_timeline(Timeline timeline) {
  const Program program = compile_or_throw(schedule_of(timeline));
  const Pipeline& pipeline = timeline.pipeline;
  const CostModel costs = resolve_costs(calibrate(timeline), pipeline.ranks(), pipeline.stages());
  const Config plain;  // A timeline has neither network nor jitter; what it shows is in its costs.
  Explanation explanation =
      explained(std::move(timeline), costs, [&](const CostModel& changed, int faster_rank) {
        return changed_step_time(program, plain, changed, faster_rank);
      });
  explanation.calibrated = true;
  return explanation;
}

Explanation explain_schedule(const Subject& subject, const Config& config) {
  const Program program = compile_subject(subject, config);
  const CostModel costs = costs_for(program.schedule(), config);
  Explanation explanation =
      explained(predict(program, config), costs, [&](const CostModel& changed, int faster_rank) {
        return changed_step_time(program, config, changed, faster_rank);
      });
  if (subject.family != nullptr) {
    Formula formula{.words = subject.family->step_time_formula,
                    .published = published_time(*subject.family, subject.shape, costs)};
    if (config.pipeline.forward_only) {
      formula.published = {.step_time = {}, .reasons = {"it is for a step with its backwards"}};
    }
    if (network_of(config) != NetworkModel{}) {
      formula.published.reasons.emplace_back("it knows eager transfers alone, not this [network]");
    }
    if (variation_of(config) != Variation{}) {
      formula.published.reasons.emplace_back("it knows no [jitter]");
    }
    explanation.formula = std::move(formula);
  }
  return explanation;
}

Explanation explain(const ExplainOptions& options) {
  const Config config = resolve_config(options.subject);
  std::variant<Timeline, Subject> loaded = load_timeline_or_subject(options.subject, config);
  if (const Subject* subject = std::get_if<Subject>(&loaded)) {
    return explain_schedule(*subject, config);
  }
  try {
    return explain_timeline(std::get<Timeline>(std::move(loaded)));
  } catch (const Error& error) {  // It knows the timeline, but not the file.
    throw Error(error.code(), fmt::format("{}: {}",
                                          options.subject.subject.empty() ? config.pipeline.schedule
                                                                          : options.subject.subject,
                                          error.what()));
  }
}

// --- the table ---

std::string words_of(std::string_view name) {
  std::string words(name);
  std::ranges::replace(words, '_', ' ');
  return words;
}

// Causes that nobody met have no column.
std::string idle_table(const Explanation& explanation) {
  const TimeUnit unit = unit_of(explanation.step_time);
  std::vector<IdleCause> met;
  std::ranges::copy_if(idle_causes, std::back_inserter(met), [&](const IdleCause& cause) {
    return explanation.overall.*cause.time != Time{};
  });
  std::vector<Column> columns{{.header = "rank"}, {fmt::format("idle ({})", unit.name)}};
  for (const IdleCause& cause : met) {
    columns.push_back({words_of(cause.name)});
  }
  std::vector<std::vector<std::string>> rows;
  const auto add = [&](const std::string& name, const auto& cell, const IdleCauses& causes) {
    std::vector<std::string> row{name, cell(causes.total())};
    for (const IdleCause& cause : met) {
      row.push_back(cell(causes.*cause.time));
    }
    rows.push_back(std::move(row));
  };
  const auto time = [&](Time value) { return format_time_in(value, unit); };
  for (std::size_t rank = 0; rank < explanation.ranks.size(); ++rank) {
    add(std::to_string(rank), time, explanation.ranks[rank]);
  }
  const double ranks = static_cast<double>(explanation.ranks.size());
  add("all", time, explanation.overall);
  add(
      "of step",
      [&](Time value) { return format_percent(share(value, explanation.step_time) / ranks); },
      explanation.overall);
  return format_table(columns, rows);
}

// Slots one after another on one rank, or one piece of another kind.
struct Stretch {
  Piece first;
  Piece last;
  int pieces = 0;
};

std::vector<Stretch> stretches_of(const std::vector<Piece>& path) {
  std::vector<Stretch> stretches;
  for (const Piece& piece : path) {
    const bool goes_on = !stretches.empty() && piece.kind == Piece::Kind::slot &&
                         stretches.back().last.kind == Piece::Kind::slot &&
                         stretches.back().last.slot.rank == piece.slot.rank;
    if (!goes_on) {
      stretches.push_back({.first = piece, .last = piece});
    }
    stretches.back().last = piece;
    ++stretches.back().pieces;
  }
  return stretches;
}

std::string words_of(const Stretch& stretch, const Timeline& timeline) {
  const int rank = stretch.first.slot.rank;
  const std::string first = name_of(stretch.first, timeline);
  switch (stretch.first.kind) {
    case Piece::Kind::transfer:
      return fmt::format("transfer from rank {} to rank {}", rank, stretch.first.destination);
    case Piece::Kind::unexplained:
      return fmt::format("rank {} had not begun {}", rank, first);
    case Piece::Kind::tail:
      return fmt::format("rank {}: {}", rank, words_of(first));
    case Piece::Kind::slot:
      break;
  }
  return stretch.pieces == 1 ? fmt::format("rank {}: {}", rank, first)
                             : fmt::format("rank {}: {} .. {}, {} slots", rank, first,
                                           name_of(stretch.last, timeline), stretch.pieces);
}

std::string path_table(const Explanation& explanation) {
  constexpr std::size_t shown_at_each_end = 10;
  const TimeUnit unit = unit_of(explanation.step_time);
  const std::vector<Stretch> stretches = stretches_of(explanation.path);
  std::vector<std::vector<std::string>> rows;
  for (std::size_t index = 0; index < stretches.size(); ++index) {
    const Stretch& stretch = stretches[index];
    if (stretches.size() > 2 * shown_at_each_end + 1 && index == shown_at_each_end) {
      const std::size_t left_out = stretches.size() - 2 * shown_at_each_end;
      rows.push_back({"..", "..", fmt::format("{} more", left_out)});
      index += left_out - 1;
      continue;
    }
    rows.push_back({format_time_in(stretch.first.begin, unit),
                    format_time_in(stretch.last.end - stretch.first.begin, unit),
                    words_of(stretch, explanation.timeline)});
  }
  const std::vector<Column> columns{{fmt::format("from ({})", unit.name)},
                                    {fmt::format("for ({})", unit.name)},
                                    {"critical path", Align::left}};
  return format_table(columns, rows);
}

// All kinds that change anything, but only those stages and ranks that matter most.
std::string sensitivity_table(const Explanation& explanation) {
  constexpr std::ptrdiff_t most = 5;  // of either
  std::vector<Sensitivity> shown;
  std::vector<Sensitivity> places;
  for (const Sensitivity& row : explanation.sensitivity) {
    if (row.saved != Time{}) {
      (row.index < 0 ? shown : places).push_back(row);
    }
  }
  std::ranges::sort(
      places, {}, [](const Sensitivity& row) { return std::tuple(row.of, -row.saved, row.index); });
  for (const Sensitivity& row : places) {
    const auto same = [&](const Sensitivity& one) { return one.index >= 0 && one.of == row.of; };
    if (std::ranges::count_if(shown, same) < most) {
      shown.push_back(row);
    }
  }
  std::vector<std::vector<std::string>> rows;
  for (const Sensitivity& row : shown) {
    const std::string name = words_of(to_string(row.of));
    rows.push_back({row.index < 0 ? name : fmt::format("{} {}", name, row.index),
                    format_time(row.saved), fmt::format("{:.2f}", row.elasticity)});
  }
  const std::vector<Column> columns{{"1 % off", Align::left}, {"saves"}, {"elasticity"}};
  return format_table(columns, rows);
}

std::string formula_text(const Explanation& explanation) {
  if (!explanation.formula) {
    return "";
  }
  const PublishedTime& published = explanation.formula->published;
  std::string text = fmt::format("\npublished: {}\n", explanation.formula->words);
  if (published.step_time) {
    const Time difference = explanation.step_time - *published.step_time;
    text +=
        fmt::format("  gives {}, simulated {}: {}\n", format_time(*published.step_time),
                    format_time(explanation.step_time),
                    difference == Time{}
                        ? "equal"
                        : format_time(difference > Time{} ? difference : -difference) + " apart");
  }
  for (const std::string& reason : published.reasons) {
    text += fmt::format("  {}\n", reason);
  }
  return text;
}

std::string as_table(const Explanation& explanation) {
  std::string text = headline(explanation.timeline.pipeline);
  text += fmt::format("step time {}", format_time(explanation.step_time));
  if (explanation.calibrated) {
    text +=
        fmt::format("; costs are those that the timeline shows, and simulated with them it is {}",
                    format_time(explanation.simulated));
  }
  return text + "\n\n" + idle_table(explanation) + "\n" + path_table(explanation) + "\n" +
         sensitivity_table(explanation) + formula_text(explanation);
}

// --- JSON ---

nlohmann::ordered_json json_of(const IdleCauses& causes) {
  nlohmann::ordered_json json{{"idle", causes.total().count()}};
  for (const IdleCause& cause : idle_causes) {
    json[std::string(cause.name)] = (causes.*cause.time).count();
  }
  return json;
}

nlohmann::ordered_json json_of(const Piece& piece, const Timeline& timeline) {
  constexpr std::array<std::string_view, 4> kinds{"slot", "transfer", "tail", "unexplained"};
  nlohmann::ordered_json json{{"kind", kinds[static_cast<std::size_t>(piece.kind)]},
                              {"rank", piece.slot.rank},
                              {"slot", name_of(piece, timeline)},
                              {"begin", piece.begin.count()},
                              {"end", piece.end.count()}};
  if (piece.kind == Piece::Kind::transfer) {
    json["destination"] = piece.destination;
  }
  return json;
}

nlohmann::ordered_json json_of(const Formula& formula, Time step_time) {
  nlohmann::ordered_json json{{"formula", formula.words},
                              {"step_time", nullptr},
                              {"difference", nullptr},
                              {"reasons", formula.published.reasons}};
  if (formula.published.step_time) {
    json["step_time"] = formula.published.step_time->count();
    json["difference"] = (step_time - *formula.published.step_time).count();
  }
  return json;
}

std::string as_json(const Explanation& explanation) {
  nlohmann::ordered_json document;
  document["schema_version"] = schema_version;
  document["schedule"] = summary_json(explanation.timeline.pipeline);
  document["step_time"] = explanation.step_time.count();
  document["costs"] = explanation.calibrated ? "calibrated" : "config";
  document["causes"] = json_of(explanation.overall);
  document["ranks"] = nlohmann::ordered_json::array();
  for (std::size_t rank = 0; rank < explanation.ranks.size(); ++rank) {
    nlohmann::ordered_json row{{"rank", rank}};
    row.update(json_of(explanation.ranks[rank]));
    document["ranks"].push_back(row);
  }
  document["critical_path"] = nlohmann::ordered_json::array();
  for (const Piece& piece : explanation.path) {
    document["critical_path"].push_back(json_of(piece, explanation.timeline));
  }
  document["simulated_step_time"] = explanation.simulated.count();
  document["sensitivity"] = nlohmann::ordered_json::array();
  for (const Sensitivity& row : explanation.sensitivity) {
    nlohmann::ordered_json json{{"of", to_string(row.of)}, {"index", nullptr}};
    if (row.index >= 0) {
      json["index"] = row.index;
    }
    json["saved"] = row.saved.count();
    json["elasticity"] = row.elasticity;
    document["sensitivity"].push_back(json);
  }
  document["closed_form"] = nullptr;
  if (explanation.formula) {
    document["closed_form"] = json_of(*explanation.formula, explanation.step_time);
  }
  return document.dump() + "\n";
}

}  // namespace

ExitCode run_explain(const ExplainOptions& options) {
  const Explanation explanation = explain(options);
  write_file("-", options.format == "json" ? as_json(explanation) : as_table(explanation));
  return ExitCode::ok;
}

}  // namespace dualpipe
