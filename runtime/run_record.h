// RunRecord: what one rank measured over a run, as bytes that travel to rank 0, and the merging of
// all ranks' records into timelines.

#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "runtime/clock.h"
#include "runtime/executor.h"
#include "scheduler/program.h"
#include "trace/timeline.h"

namespace dualpipe {

class RunRecord {
 public:
  void add(const RankStep& step);

  [[nodiscard]] std::span<const std::byte> bytes() const { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
};

// What rank 0 has of one rank.
struct RankRecord {
  std::vector<std::byte> bytes;  // RunRecord::bytes()
  ClockLine clock;
};

// One timeline per step, from the records of all ranks in order of rank, all of the same program,
// on rank 0's clock. Each step's time zero is the earliest begin of any rank's first slot. Without
// stage_bytes and the bytes of transfers. Requires: the records are those of `steps` steps.
[[nodiscard]] std::vector<Timeline> merge_records(const Program& program,
                                                  std::span<const RankRecord> records, int steps);

}  // namespace dualpipe
