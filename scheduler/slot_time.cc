#include "scheduler/slot_time.h"

#include <cstddef>
#include <cstdint>

#include "costs/check.h"
#include "costs/cost_model.h"
#include "scheduler/op.h"
#include "scheduler/schedule.h"

namespace dualpipe {

Time slot_time(const Slot& slot, const CostModel& costs) {
  const auto stage_of = [&](const Op& op) -> const StageCosts& {
    return costs.stages[static_cast<std::size_t>(op.stage)];
  };
  const Op& op = slot.front();
  const StageCosts& stage = stage_of(op);
  if (slot.is_pair()) {
    return overlapped_time(stage, stage_of(slot.back()));
  }
  switch (op.kind) {
    case OpKind::forward:
      return stage.forward;
    case OpKind::backward:
      return stage.backward();
    case OpKind::backward_input:
      return stage.backward_input;
    case OpKind::backward_weight:
      return stage.backward_weight;
  }
  return Time{};
}

CostModel with_mean_stages(CostModel costs) {
  CHECK(!costs.stages.empty());
  const auto mean = [&](Time StageCosts::* time) {
    Time sum{};
    for (const StageCosts& stage : costs.stages) {
      sum += stage.*time;
    }
    return sum / static_cast<std::int64_t>(costs.stages.size());
  };
  const Time forward = mean(&StageCosts::forward);
  const Time input = mean(&StageCosts::backward_input);
  const Time weight = mean(&StageCosts::backward_weight);
  const Time overlapped = mean(&StageCosts::overlapped);
  for (StageCosts& stage : costs.stages) {
    stage.forward = forward;
    stage.backward_input = input;
    stage.backward_weight = weight;
    stage.overlapped = overlapped;
  }
  return costs;
}

}  // namespace dualpipe
