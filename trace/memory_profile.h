// Memory over time: what every rank keeps alive at every moment of a timeline, by what it is for.

#pragma once

#include <string>
#include <vector>

#include "costs/cost_model.h"
#include "scheduler/memory.h"
#include "trace/timeline.h"

namespace dualpipe {

struct MemoryPoint {
  Time time{};
  MemoryUse use;  // from this time on, to the next point's

  bool operator==(const MemoryPoint&) const = default;
};

struct RankMemory {
  std::vector<MemoryPoint> points;  // by time, one for each time; the first at the step's begin
  MemoryPoint peak;                 // the first moment of the largest total
};

// One per rank. A slot takes what it allocates when it begins and gives back when it ends, as in
// MemoryCount; what ends is given back before what begins at the same time takes.
// What a rank keeps all the time is there from the begin to the end.
[[nodiscard]] std::vector<RankMemory> memory_over_time(const Timeline& timeline);

// "rank,time,weights,..,logits,total": a row for every point, in nanoseconds and bytes.
[[nodiscard]] std::string to_csv(const std::vector<RankMemory>& ranks);

}  // namespace dualpipe
