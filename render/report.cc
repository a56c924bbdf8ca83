#include "render/report.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/core.h>

#include "costs/check.h"
#include "render/table.h"
#include "render/units.h"
#include "scheduler/memory.h"
#include "scheduler/pipeline.h"
#include "trace/metrics.h"

namespace dualpipe {
namespace {

// One mark for each twentieth of the step.
std::string bar(double ratio) {
  constexpr double marks = 20.0;
  return std::string(static_cast<std::size_t>(std::lround(std::max(ratio, 0.0) * marks)), '#');
}

std::string counted(int count, std::string_view noun) {
  return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

// What the peak of the rank with the largest consists of, where more is known of it than
// activations.
std::string fullest_rank(const Metrics& metrics) {
  const auto fullest = std::ranges::max_element(
      metrics.ranks, {}, [](const RankMetrics& rank) { return rank.peak_memory.total(); });
  if (fullest == metrics.ranks.end()) {
    return "";
  }
  const MemoryUse& use = fullest->peak_memory;
  if (use.total() == use.activations + use.weight_operands) {
    return "";
  }
  const std::array<std::pair<std::string_view, std::int64_t>, 7> parts{
      {{"weights", use.weights},
       {"gradients", use.gradients},
       {"optimizer", use.optimizer},
       {"receive buffers", use.receive_buffers},
       {"activations", use.activations},
       {"weight operands", use.weight_operands},
       {"logits", use.logits}}};
  std::string text;
  for (const auto& [name, bytes] : parts) {
    if (bytes != 0) {
      text += fmt::format("{}{} {}", text.empty() ? "" : " + ", name, format_bytes(bytes));
    }
  }
  return fmt::format("{:<19}rank {}: {} = {}\n", "fullest rank", fullest - metrics.ranks.begin(),
                     format_bytes(use.total()), text);
}

}  // namespace

std::string headline(const Pipeline& pipeline) {
  std::string line = fmt::format("{}: {}, {}, {}", pipeline.name, counted(pipeline.ranks(), "rank"),
                                 counted(pipeline.stages(), "stage"),
                                 fmt::format("{} microbatch{}", pipeline.microbatches(),
                                             pipeline.microbatches() == 1 ? "" : "es"));
  if (pipeline.placement.directions() > 1) {
    line += ", " + counted(pipeline.placement.directions(), "direction");
  }
  return line + '\n';
}

std::string metrics_table(const Pipeline& pipeline, const Metrics& metrics) {
  CHECK(metrics.ranks.size() == static_cast<std::size_t>(pipeline.ranks()));
  const TimeUnit unit = unit_of(metrics.step_time);
  const auto time_column = [&](std::string_view name) {
    return Column{.header = fmt::format("{} ({})", name, unit.name)};
  };
  std::vector<Column> columns{{.header = "rank"},
                              time_column("begin"),
                              time_column("end"),
                              time_column("busy"),
                              time_column("idle"),
                              {.header = "bubble"},
                              {.header = "", .align = Align::left},
                              {.header = "peak activations"}};
  const bool bytes =
      std::any_of(metrics.ranks.begin(), metrics.ranks.end(),
                  [](const RankMetrics& rank) { return rank.peak_memory.total() != 0; });
  if (bytes) {
    columns.push_back({.header = "peak memory"});
  }
  std::vector<std::vector<std::string>> rows;
  for (const RankMetrics& rank : metrics.ranks) {
    std::vector<std::string>& row = rows.emplace_back();
    row = {std::to_string(rows.size() - 1), format_time_in(rank.begin, unit),
           format_time_in(rank.end, unit),  format_time_in(rank.busy, unit),
           format_time_in(rank.idle, unit), format_percent(rank.bubble_ratio),
           bar(rank.bubble_ratio),          std::to_string(rank.peak_activations)};
    if (bytes) {
      row.push_back(format_bytes(rank.peak_memory.total()));
    }
  }
  constexpr std::string_view overall = "{:<19}{}\n";
  return headline(pipeline) + '\n' + format_table(columns, rows) + '\n' +
         fmt::format(overall, "step time", format_time(metrics.step_time)) +
         fmt::format(overall, "longest rank time", format_time(metrics.longest_rank_time)) +
         fmt::format(overall, "bubble", format_percent(metrics.bubble_ratio)) +
         fullest_rank(metrics);
}

}  // namespace dualpipe
