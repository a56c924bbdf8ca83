#include "trace/metrics.h"

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "costs/cost_model.h"
#include "scheduler/memory.h"
#include "scheduler/pipeline.h"
#include "scheduler/pipeline_json.h"
#include "scheduler/schedule.h"
#include "trace/timeline.h"

namespace dualpipe {
namespace {

double ratio(Time part, Time whole) {
  return whole.count() == 0
             ? 0.0
             : static_cast<double>(part.count()) / static_cast<double>(whole.count());
}

RankMetrics measure_rank(const std::vector<Span>& spans, MemoryCount memory) {
  RankMetrics metrics;
  for (const Span& span : spans) {
    metrics.busy += span.duration();
    memory.run(span.slot);
  }
  if (!spans.empty()) {
    metrics.begin = spans.front().begin;
    metrics.end = spans.back().end;
  }
  metrics.peak_activations = memory.peak_activations();
  metrics.peak_memory = memory.peak();
  return metrics;
}

}  // namespace

MemoryPurpose purpose_of(const Timeline& timeline) {
  return is_forward_only(timeline.ranks, &Span::slot) ? MemoryPurpose::inference
                                                      : MemoryPurpose::training;
}

Metrics measure(const Timeline& timeline) {
  Metrics metrics;
  metrics.step_time = makespan(timeline);
  const MemoryPurpose purpose = purpose_of(timeline);
  const std::vector<MemoryUse> resident =
      resident_memory(timeline.pipeline.placement, timeline.stage_bytes, purpose);
  std::vector<Time> updates(timeline.ranks.size());
  for (const TailSpan& span : timeline.tail) {
    if (span.kind == TailKind::optimizer) {
      updates[static_cast<std::size_t>(span.rank)] += span.end - span.begin;
    }
  }
  double busy = 0.0;  // ns of all ranks together, which may be more than 64 bits hold
  for (std::size_t index = 0; index < timeline.ranks.size(); ++index) {
    RankMetrics rank = measure_rank(timeline.ranks[index],
                                    MemoryCount(timeline.stage_bytes, purpose, resident[index]));
    rank.busy += updates[index];
    rank.idle = metrics.step_time - rank.busy;
    rank.bubble_ratio = ratio(rank.idle, metrics.step_time);
    metrics.longest_rank_time = std::max(metrics.longest_rank_time, rank.end - rank.begin);
    busy += static_cast<double>(rank.busy.count());
    metrics.ranks.push_back(rank);
  }
  const double whole =
      static_cast<double>(metrics.step_time.count()) * static_cast<double>(metrics.ranks.size());
  metrics.bubble_ratio = whole == 0.0 ? 0.0 : (whole - busy) / whole;
  return metrics;
}

std::string to_json(const Metrics& metrics, const Pipeline& pipeline) {
  nlohmann::ordered_json document;
  document["schema_version"] = schema_version;
  document["schedule"] = summary_json(pipeline);
  document["step_time"] = metrics.step_time.count();
  document["longest_rank_time"] = metrics.longest_rank_time.count();
  document["bubble_ratio"] = metrics.bubble_ratio;
  document["ranks"] = nlohmann::ordered_json::array();
  for (std::size_t rank = 0; rank < metrics.ranks.size(); ++rank) {
    const RankMetrics& one = metrics.ranks[rank];
    document["ranks"].push_back({{"rank", rank},
                                 {"begin", one.begin.count()},
                                 {"end", one.end.count()},
                                 {"busy", one.busy.count()},
                                 {"idle", one.idle.count()},
                                 {"bubble_ratio", one.bubble_ratio},
                                 {"peak_activations", one.peak_activations},
                                 {"peak_bytes", one.peak_memory.total()}});
  }
  return document.dump() + "\n";
}

std::string to_csv(const Metrics& metrics) {
  std::string text = "rank,begin,end,busy,idle,bubble_ratio,peak_activations,peak_bytes\n";
  for (std::size_t rank = 0; rank < metrics.ranks.size(); ++rank) {
    const RankMetrics& one = metrics.ranks[rank];
    text += fmt::format("{},{},{},{},{},{},{},{}\n", rank, one.begin.count(), one.end.count(),
                        one.busy.count(), one.idle.count(), one.bubble_ratio, one.peak_activations,
                        one.peak_memory.total());
  }
  return text;
}

}  // namespace dualpipe
