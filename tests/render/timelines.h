// Timelines for the tests of render/: written as text, or simulated with the costs of the figures
// in the papers.

#pragma once

#include <cstddef>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "costs/cost_model.h"
#include "scheduler/compile.h"
#include "scheduler/generate.h"
#include "scheduler/pipeline.h"
#include "scheduler/schedule.h"
#include "sim/simulate.h"
#include "trace/timeline.h"

namespace dualpipe {

inline Time ms(double count) {
  return Time(static_cast<std::int64_t>(count * 1e6));
}

// "0F0@0-1.5": the slot 0F0 from 0 to 1.5 ms.
inline Span span_of(const std::string& text) {
  const std::size_t at = text.find('@');
  const std::size_t dash = text.find('-', at);
  return {.slot = parse_slot(std::string_view(text).substr(0, at)),
          .begin = ms(std::stod(text.substr(at + 1, dash - at - 1))),
          .end = ms(std::stod(text.substr(dash + 1)))};
}

inline std::vector<Span> spans_of(const std::string& text) {
  std::vector<Span> spans;
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    spans.push_back(span_of(word));
  }
  return spans;
}

inline Pipeline pipeline_of(Placement placement, int microbatches) {
  const int directions = placement.directions();
  return {.name = "hand-made",
          .placement = std::move(placement),
          .direction = directions_of_microbatches(microbatches, directions)};
}

// One text of spans per rank.
inline Timeline timeline_of(const Pipeline& pipeline, const std::vector<std::string>& ranks) {
  Timeline timeline{.pipeline = pipeline, .ranks = {}, .transfers = {}, .stage_bytes = {}};
  timeline.stage_bytes.resize(static_cast<std::size_t>(pipeline.stages()));
  for (const std::string& rank : ranks) {
    timeline.ranks.push_back(spans_of(rank));
  }
  return timeline;
}

// One rank that runs `count` forwards of `duration` without a pause.
inline Timeline forwards(int count, Time duration) {
  Timeline timeline = timeline_of(pipeline_of(linear_placement(1), count), {""});
  for (int microbatch = 0; microbatch < count; ++microbatch) {
    timeline.ranks.front().push_back(
        {.slot = Op{.stage = 0, .kind = OpKind::forward, .microbatch = microbatch},
         .begin = duration * microbatch,
         .end = duration * (microbatch + 1)});
  }
  return timeline;
}

// 1F1B on two ranks, two microbatches, F = 1, B = 2, as anyone would draw it.
inline Timeline small_1f1b() {
  return timeline_of(pipeline_of(linear_placement(2), 2),
                     {"0F0@0-1 0F1@1-2 0B0@4-6 0B1@7-9", "1F0@1-2 1B0@2-4 1F1@4-5 1B1@5-7"});
}

// F = I = W = 1 ms, an overlapped pair 3 ms, no transfer costs: the figures of the papers.
inline Timeline simulated(std::string_view family, const Shape& shape) {
  const Schedule schedule = generate(find_family(family), shape);
  CostConfig config;
  config.per = "stage";
  const CostModel costs = resolve_costs(config, shape.ranks, schedule.pipeline.stages());
  return simulate(compile_or_throw(schedule), costs);
}

}  // namespace dualpipe
