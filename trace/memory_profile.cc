#include "trace/memory_profile.h"

#include <cstddef>
#include <iterator>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "scheduler/memory.h"
#include "trace/metrics.h"
#include "trace/timeline.h"

namespace dualpipe {
namespace {

// What happens at one time is one point, which says what is alive after it.
void note(RankMemory& memory, const MemoryPoint& point) {
  if (point.use.total() > memory.peak.use.total()) {
    memory.peak = point;
  }
  if (memory.points.back().time == point.time) {
    memory.points.pop_back();
  }
  if (memory.points.empty() || memory.points.back().use != point.use) {
    memory.points.push_back(point);
  }
}

RankMemory memory_of(const std::vector<Span>& spans, MemoryCount count) {
  RankMemory memory{.points = {{.time = Time{}, .use = count.alive()}},
                    .peak = {.time = Time{}, .use = count.alive()}};
  for (const Span& span : spans) {
    count.begin(span.slot);
    note(memory, {.time = span.begin, .use = count.alive()});
    count.end(span.slot);
    note(memory, {.time = span.end, .use = count.alive()});
  }
  return memory;
}

}  // namespace

std::vector<RankMemory> memory_over_time(const Timeline& timeline) {
  std::vector<RankMemory> ranks;
  const MemoryPurpose purpose = purpose_of(timeline);
  const std::vector<MemoryUse> resident =
      resident_memory(timeline.pipeline.placement, timeline.stage_bytes, purpose);
  for (std::size_t rank = 0; rank < resident.size(); ++rank) {
    ranks.push_back(memory_of(timeline.ranks[rank],
                              MemoryCount(timeline.stage_bytes, purpose, resident[rank])));
  }
  return ranks;
}

std::string to_csv(const std::vector<RankMemory>& ranks) {
  std::string text =
      "rank,time,weights,gradients,optimizer,receive_buffers,activations,weight_operands,logits,"
      "total\n";
  for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
    for (const auto& [time, use] : ranks[rank].points) {
      fmt::format_to(std::back_inserter(text), "{},{},{},{},{},{},{},{},{},{}\n", rank,
                     time.count(), use.weights, use.gradients, use.optimizer, use.receive_buffers,
                     use.activations, use.weight_operands, use.logits, use.total());
    }
  }
  return text;
}

}  // namespace dualpipe
