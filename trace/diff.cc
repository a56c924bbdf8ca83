#include "trace/diff.h"

#include <array>
#include <cstddef>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "costs/cost_model.h"
#include "costs/error.h"
#include "scheduler/op.h"
#include "scheduler/pipeline_json.h"
#include "scheduler/schedule.h"
#include "trace/metrics.h"
#include "trace/timeline.h"

namespace dualpipe {
namespace {

constexpr std::array<std::string_view, 5> kind_names{"F", "B", "I", "W", "F&B"};

std::size_t kind_of(const Slot& slot) {
  constexpr std::string_view letters = "FBIW";
  return slot.is_pair() ? kind_names.size() - 1
                        : letters.find(static_cast<char>(slot.front().kind));
}

struct Sum {
  int count = 0;
  Time predicted{};
  Time measured{};
};

[[noreturn]] void refuse(const std::string& what) {
  throw Error(ExitCode::invalid_schedule, "the two timelines are not of the same schedule: " +
                                              what + "; simulate the schedule that was run");
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

nlohmann::ordered_json pair_of(Time predicted, Time measured) {
  return {{"predicted", predicted.count()}, {"measured", measured.count()}};
}

}  // namespace

double TimelineDiff::step_time_error() const {
  return relative_error(predicted.step_time, measured.step_time);
}

TimelineDiff diff(const Timeline& predicted, const Timeline& measured) {
  if (predicted.ranks.size() != measured.ranks.size()) {
    refuse(fmt::format("the first has {} ranks, the second {}", predicted.ranks.size(),
                       measured.ranks.size()));
  }
  std::array<Sum, kind_names.size()> sums{};
  for (std::size_t rank = 0; rank < predicted.ranks.size(); ++rank) {
    check_same_rank(predicted.ranks[rank], measured.ranks[rank], rank);
    for (std::size_t slot = 0; slot < predicted.ranks[rank].size(); ++slot) {
      Sum& sum = sums.at(kind_of(predicted.ranks[rank][slot].slot));
      ++sum.count;
      sum.predicted += predicted.ranks[rank][slot].duration();
      sum.measured += measured.ranks[rank][slot].duration();
    }
  }
  TimelineDiff difference{
      .predicted = measure(predicted), .measured = measure(measured), .kinds = {}};
  for (std::size_t kind = 0; kind < sums.size(); ++kind) {
    const Sum& sum = sums[kind];
    if (sum.count > 0) {
      difference.kinds.push_back({.kind = std::string(kind_names[kind]),
                                  .count = sum.count,
                                  .predicted = sum.predicted / sum.count,
                                  .measured = sum.measured / sum.count});
    }
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
  document["kinds"] = nlohmann::ordered_json::array();
  for (const KindDifference& kind : difference.kinds) {
    nlohmann::ordered_json row = pair_of(kind.predicted, kind.measured);
    row["kind"] = kind.kind;
    row["count"] = kind.count;
    document["kinds"].push_back(row);
  }
  document["ranks"] = nlohmann::ordered_json::array();
  for (std::size_t rank = 0; rank < difference.predicted.ranks.size(); ++rank) {
    const RankMetrics& predicted = difference.predicted.ranks[rank];
    const RankMetrics& measured = difference.measured.ranks[rank];
    document["ranks"].push_back(
        {{"rank", rank},
         {"busy", pair_of(predicted.busy, measured.busy)},
         {"bubble_ratio",
          {{"predicted", predicted.bubble_ratio}, {"measured", measured.bubble_ratio}}}});
  }
  return document.dump() + "\n";
}

}  // namespace dualpipe
