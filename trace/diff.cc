#include "trace/diff.h"

#include <array>
#include <cstddef>
#include <limits>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "costs/cost_model.h"
#include "costs/error.h"
#include "scheduler/compile.h"
#include "scheduler/pipeline.h"
#include "scheduler/pipeline_json.h"
#include "scheduler/schedule.h"
#include "trace/attribution.h"
#include "trace/calibrate.h"
#include "trace/metrics.h"
#include "trace/slot_kind.h"
#include "trace/timeline.h"

namespace dualpipe {
namespace {

struct Sum {
  int count = 0;
  Time predicted{};
  Time measured{};

  void add(Time expected, Time found) {
    ++count;
    predicted += expected;
    measured += found;
  }
};
using Sums = std::array<Sum, slot_kinds.size()>;

[[noreturn]] void refuse(const std::string& what) {
  throw Error(ExitCode::invalid_schedule, "the two timelines are not of the same schedule: " +
                                              what + "; simulate the schedule that was run");
}

void check_same_pipeline(const Pipeline& predicted, const Pipeline& measured) {
  const auto check = [](const char* what, int expected, int found) {
    if (expected != found) {
      refuse(fmt::format("the first has {} {}, the second {}", expected, what, found));
    }
  };
  check("ranks", predicted.ranks(), measured.ranks());
  check("stages", predicted.stages(), measured.stages());
  check("microbatches", predicted.microbatches(), measured.microbatches());
  if (predicted.placement != measured.placement) {
    refuse("their stages lie on different ranks");
  }
  if (predicted.direction != measured.direction) {
    refuse("their microbatches go different ways");
  }
}

void check_same_rank(const std::vector<Span>& predicted, const std::vector<Span>& measured,
                     std::size_t rank) {
  for (std::size_t slot = 0; slot < predicted.size() && slot < measured.size(); ++slot) {
    if (predicted[slot].slot != measured[slot].slot) {
      refuse(fmt::format("slot {} of rank {} is {} in the first and {} in the second", slot, rank,
                         to_string(predicted[slot].slot), to_string(measured[slot].slot)));
    }
  }
  if (predicted.size() != measured.size()) {
    refuse(fmt::format("rank {} has {} slots in the first and {} in the second", rank,
                       predicted.size(), measured.size()));
  }
}

double relative_error(Time predicted, Time measured) {
  if (predicted == measured) {
    return 0.0;
  }
  return predicted == Time{}
             ? std::numeric_limits<double>::infinity()
             : static_cast<double>(measured.count()) / static_cast<double>(predicted.count()) - 1.0;
}

std::vector<KindDifference> kinds_of(const Sums& sums) {
  std::vector<KindDifference> kinds;
  for (std::size_t kind = 0; kind < sums.size(); ++kind) {
    const Sum& sum = sums.at(kind);
    if (sum.count > 0) {
      kinds.push_back({.kind = static_cast<SlotKind>(kind),
                       .count = sum.count,
                       .predicted = sum.predicted / sum.count,
                       .measured = sum.measured / sum.count,
                       .predicted_total = sum.predicted,
                       .measured_total = sum.measured});
    }
  }
  return kinds;
}

void add_causes(const Timeline& predicted, const Timeline& measured,
                std::vector<RankDifference>& ranks) {
  const Pipeline& pipeline = predicted.pipeline;
  // The schedule is proved before its chains are followed; so both timelines have one without
  // holes.
  static_cast<void>(compile_or_throw(schedule_of(predicted)));
  const CostModel costs = resolve_costs(calibrate(predicted), pipeline.ranks(), pipeline.stages());
  const std::vector<IdleCauses> expected = attribute_idle(predicted, costs);
  const std::vector<IdleCauses> found = attribute_idle(measured, costs);
  for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
    ranks[rank].predicted = expected[rank];
    ranks[rank].measured = found[rank];
  }
}

nlohmann::ordered_json pair_of(Time predicted, Time measured) {
  return {{"predicted", predicted.count()}, {"measured", measured.count()}};
}

nlohmann::ordered_json json_of(const std::vector<KindDifference>& kinds) {
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (const KindDifference& kind : kinds) {
    nlohmann::ordered_json row = pair_of(kind.predicted, kind.measured);
    row["kind"] = to_string(kind.kind);
    row["count"] = kind.count;
    rows.push_back(row);
  }
  return rows;
}

nlohmann::ordered_json causes_of(const RankDifference& of, const TimelineDiff& difference) {
  if (!difference.without_causes.empty()) {
    return nullptr;
  }
  nlohmann::ordered_json causes;
  for (const IdleCause& cause : idle_causes) {
    causes[std::string(cause.name)] = pair_of(of.predicted.*cause.time, of.measured.*cause.time);
  }
  return causes;
}

}  // namespace

double TimelineDiff::step_time_error() const {
  return relative_error(predicted.step_time, measured.step_time);
}

TimelineDiff diff(const Timeline& predicted, const Timeline& measured) {
  check_same_pipeline(predicted.pipeline, measured.pipeline);
  TimelineDiff difference{.predicted = measure(predicted),
                          .measured = measure(measured),
                          .kinds = {},
                          .ranks = {},
                          .without_causes = ""};
  Sums all{};
  for (std::size_t rank = 0; rank < predicted.ranks.size(); ++rank) {
    check_same_rank(predicted.ranks[rank], measured.ranks[rank], rank);
    Sums own{};
    for (std::size_t slot = 0; slot < predicted.ranks[rank].size(); ++slot) {
      const Span& expected = predicted.ranks[rank][slot];
      const Time found = measured.ranks[rank][slot].duration();
      own.at(static_cast<std::size_t>(kind_of(expected.slot))).add(expected.duration(), found);
      all.at(static_cast<std::size_t>(kind_of(expected.slot))).add(expected.duration(), found);
    }
    difference.ranks.push_back({.kinds = kinds_of(own), .predicted = {}, .measured = {}});
  }
  difference.kinds = kinds_of(all);
  try {
    add_causes(predicted, measured, difference.ranks);
  } catch (const Error& error) {
    difference.without_causes = error.what();
  }
  return difference;
}

std::string to_json(const TimelineDiff& difference) {
  nlohmann::ordered_json document;
  document["schema_version"] = schema_version;
  document["step_time"] = pair_of(difference.predicted.step_time, difference.measured.step_time);
  document["step_time"]["error"] = difference.step_time_error();
  document["bubble_ratio"] = {{"predicted", difference.predicted.bubble_ratio},
                              {"measured", difference.measured.bubble_ratio}};
  document["kinds"] = json_of(difference.kinds);
  document["ranks"] = nlohmann::ordered_json::array();
  RankDifference all;
  for (std::size_t rank = 0; rank < difference.ranks.size(); ++rank) {
    const RankMetrics& predicted = difference.predicted.ranks[rank];
    const RankMetrics& measured = difference.measured.ranks[rank];
    const RankDifference& own = difference.ranks[rank];
    all.predicted += own.predicted;
    all.measured += own.measured;
    document["ranks"].push_back(
        {{"rank", rank},
         {"busy", pair_of(predicted.busy, measured.busy)},
         {"idle", pair_of(predicted.idle, measured.idle)},
         {"bubble_ratio",
          {{"predicted", predicted.bubble_ratio}, {"measured", measured.bubble_ratio}}},
         {"kinds", json_of(own.kinds)},
         {"causes", causes_of(own, difference)}});
  }
  document["causes"] = causes_of(all, difference);
  document["without_causes"] = difference.without_causes;
  return document.dump() + "\n";
}

std::string to_csv(const TimelineDiff& difference) {
  std::string text = "of,rank,name,count,predicted,measured\n";
  text += fmt::format("step,,step_time,,{},{}\n", difference.predicted.step_time.count(),
                      difference.measured.step_time.count());
  for (std::size_t rank = 0; rank < difference.ranks.size(); ++rank) {
    const RankDifference& own = difference.ranks[rank];
    for (const KindDifference& kind : own.kinds) {
      text += fmt::format("slots,{},{},{},{},{}\n", rank, to_string(kind.kind), kind.count,
                          kind.predicted_total.count(), kind.measured_total.count());
    }
    const RankMetrics& predicted = difference.predicted.ranks[rank];
    const RankMetrics& measured = difference.measured.ranks[rank];
    text +=
        fmt::format("rank,{},busy,,{},{}\n", rank, predicted.busy.count(), measured.busy.count());
    text +=
        fmt::format("rank,{},idle,,{},{}\n", rank, predicted.idle.count(), measured.idle.count());
    for (const IdleCause& cause : idle_causes) {
      if (difference.without_causes.empty()) {
        text +=
            fmt::format("idle,{},{},,{},{}\n", rank, cause.name,
                        (own.predicted.*cause.time).count(), (own.measured.*cause.time).count());
      }
    }
  }
  return text;
}

}  // namespace dualpipe
