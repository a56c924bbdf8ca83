// RunRecord: what one rank measured over a run, as bytes that travel to rank 0, and the merging of
// all ranks' records into timelines.

#pragma once

#include <chrono>
#include <cstddef>
#include <span>
#include <vector>

#include "runtime/executor.h"
#include "scheduler/program.h"
#include "trace/timeline.h"

namespace dualpipe {

class RunRecord {
 public:
  // `offset` turns this rank's clock into rank 0's.
  void add(const RankStep& step, std::chrono::nanoseconds offset);

  [[nodiscard]] std::span<const std::byte> bytes() const { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
};

// One timeline per step, from the records of all ranks in order of rank, all of the same program.
// Each step's time zero is the earliest begin of any rank's first slot. Without stage_bytes.
// Requires: the records are those of `steps` steps.
[[nodiscard]] std::vector<Timeline> merge_records(const Program& program,
                                                  std::span<const std::vector<std::byte>> records,
                                                  int steps);

}  // namespace dualpipe
