// How long every slot and every transfer of one step takes: exactly what the cost model says, or
// varied around it as real steps are - kernels that are now faster, now slower, slow ranks,
// microbatches whose experts are badly balanced. Engines take either.

#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "costs/cost_model.h"
#include "scheduler/program.h"
#include "scheduler/schedule.h"

namespace dualpipe {

struct StepDurations {
  std::vector<Time> slots;      // rank after rank, each in the program's order; see first_slots()
  std::vector<Time> transfers;  // [message of the program]: without other traffic

  bool operator==(const StepDurations&) const = default;
};

// [rank]: where its slots begin in StepDurations::slots; and at the end, how many there are.
[[nodiscard]] std::vector<std::size_t> first_slots(const Program& program);

// Requires: costs.stages has one entry per stage.
[[nodiscard]] StepDurations nominal_durations(const Program& program, const CostModel& costs);

// What is different from the cost model. Every sigma is the standard deviation of the logarithm of
// a lognormal factor whose mean is 1; at the defaults nothing differs.
struct Variation {
  double slot_sigma = 0.0;        // a factor for every slot
  double transfer_sigma = 0.0;    // a factor for every transfer, its latency included
  double microbatch_sigma = 0.0;  // a factor for every microbatch at every stage, which its F, B, I
                                  // and W share: load of experts, lengths of sequences
  std::vector<double> stage_factors =
      {};  // [stage], or empty: what ops of the stage take, times this
  std::vector<double> rank_factors = {};  // [rank], or empty: likewise; stragglers

  // Beyond, a factor is now a thousandth, now a thousand: measurements that scatter so much measure
  // something else.
  static constexpr double sigma_max = 3.0;
  static constexpr double factor_max = 1000.0;

  bool operator==(const Variation&) const = default;
};

// Throws Error (usage) naming the member: a sigma or a factor that is not a number from 0 to its
// maximum, or a list whose length is neither 0 nor the number of stages or ranks.
void require_valid(const Variation& variation, const Pipeline& pipeline);

// Draws the durations of one step after another. A factor multiplies an op; an overlapped pair
// shares its time among its two ops as they would take it apart, F : B. Results are rounded to
// nanoseconds. Safe to use from several threads.
class DurationSampler {
 public:
  // Throws what require_valid() throws. Requires: costs.stages has one entry per stage.
  DurationSampler(const Program& program, const CostModel& costs, const Variation& variation);

  // Step `sample` of those that `seed` stands for. Equal arguments give equal durations, on every
  // machine and whatever has been drawn before. Throws Error (usage) where the durations of the
  // step add up to more than 64 bits of nanoseconds hold. Allocates only if `durations` is smaller
  // than the step.
  void draw(std::uint64_t seed, std::uint64_t sample, StepDurations& durations) const;
  [[nodiscard]] StepDurations draw(std::uint64_t seed, std::uint64_t sample) const;

 private:
  // A slot in terms of its ops. The second is absent where its time is 0.
  struct Work {
    double front = 0.0;  // ns, with the factors that do not change
    double back = 0.0;
    std::int32_t front_number = 0;  // of the op's microbatch at its stage
    std::int32_t back_number = 0;
  };
  [[nodiscard]] static Work work_of(const Slot& slot, int rank, const CostModel& costs,
                                    const Variation& variation, int microbatches);

  std::vector<Work> slots_;
  std::vector<double> transfers_;  // [message], ns
  double slot_sigma_ = 0.0;
  double transfer_sigma_ = 0.0;
  double microbatch_sigma_ = 0.0;
};

}  // namespace dualpipe
