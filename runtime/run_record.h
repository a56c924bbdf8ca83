// RunRecord: what one rank measured over a run, in memory that does not grow with what its steps
// hold. Of every step it keeps when its slots began and ended; all spans and messages it keeps of
// the newest steps only. When the run is done rank 0 puts the ranks' records together: a time for
// every step, and a timeline for one of them.

#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "costs/cost_model.h"
#include "runtime/clock.h"
#include "runtime/step_marks.h"
#include "scheduler/program.h"
#include "trace/timeline.h"

namespace dualpipe {

// From a rank's first slot of a step to its last, on the rank's clock since its epoch. Trivially
// copyable, to travel.
struct StepExtent {
  Time begin{};
  Time end{};
};

class RunRecord {
 public:
  // Of how many steps everything is kept.
  static constexpr int whole_steps_max = 64;

  // For one rank's part in `steps` steps. Allocates all there is.
  RunRecord(const Program& program, int rank, int steps);

  // The next step. Allocates nothing. Requires: a step of the rank, and no more than `steps`.
  void add(const RankStep& step);

  [[nodiscard]] std::span<const StepExtent> extents() const { return extents_; }  // [step]
  // All of one step. Requires: one of the newest whole_steps_max.
  [[nodiscard]] std::span<const std::byte> whole(std::size_t step) const;

 private:
  std::size_t step_bytes_;
  std::vector<StepExtent> extents_;
  std::vector<std::byte> wholes_;  // step k at place k modulo whole_steps_max
};

// What rank 0 has of one rank.
struct RankExtents {
  std::vector<StepExtent> steps;
  ClockLine clock;
};
struct RankRecord {
  std::span<const std::byte> step;  // RunRecord::whole()
  ClockLine clock;
};

// [step]: from the earliest begin of any rank's first slot to the latest end, on rank 0's clock:
// the makespan of the step's timeline. Requires: every rank has equally many.
[[nodiscard]] std::vector<Time> step_times(const Program& program,
                                           std::span<const RankExtents> ranks);

// The step whose time is the median, among those of which everything is kept, and without the first
// of the run where there are others: it warms up. Requires: at least one.
[[nodiscard]] std::size_t typical_step(std::span<const Time> step_times);

// The timeline of a step, from the records of all ranks in order of rank, on rank 0's clock. Its
// time zero is the earliest begin of any rank's first slot. Without stage_bytes and the bytes of
// transfers. Throws Error (transport) naming a rank whose record is not one of this program.
[[nodiscard]] Timeline merge_records(const Program& program, std::span<const RankRecord> records);

}  // namespace dualpipe
