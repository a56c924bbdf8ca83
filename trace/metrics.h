// What a timeline comes to: step time, bubbles and memory, per rank and overall.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "costs/cost_model.h"
#include "scheduler/memory.h"
#include "trace/timeline.h"

namespace dualpipe {

struct RankMetrics {
  Time begin{};               // of the rank's first slot
  Time end{};                 // of its last
  Time busy{};                // in slots and the optimizer
  Time idle{};                // step time - busy
  double bubble_ratio = 0.0;  // idle / step time
  int peak_activations = 0;   // most stage activations alive at once: F begin to W end (or B end)
  MemoryUse peak_memory{};    // at the first moment of the largest total
};

struct Metrics {
  Time step_time{};           // makespan
  Time longest_rank_time{};   // largest end - begin of a rank: what the zero-bubble papers quote
  double bubble_ratio = 0.0;  // 1 - busy / (ranks * step time)
  std::vector<RankMetrics> ranks;
};

[[nodiscard]] Metrics measure(const Timeline& timeline);

// What is_forward_only() says of it.
[[nodiscard]] MemoryPurpose purpose_of(const Timeline& timeline);

// The document of `simulate --format json`; docs/formats.md. `pipeline` is the timeline's.
[[nodiscard]] std::string to_json(const Metrics& metrics, const Pipeline& pipeline);

// A header line, then one row per rank with the same numbers as the JSON.
[[nodiscard]] std::string to_csv(const Metrics& metrics);

}  // namespace dualpipe
