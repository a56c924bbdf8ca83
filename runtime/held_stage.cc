#include "runtime/held_stage.h"

#include <memory>
#include <span>
#include <utility>
#include <vector>

#include <fmt/core.h>

#include "costs/error.h"
#include "runtime/rank_plan.h"
#include "runtime/stage.h"
#include "runtime/trainer_call.h"

namespace dualpipe {
std::vector<HeldStage> make_held_stages(const RankPlan& plan, const StageFactory& make_stage) {
  std::vector<HeldStage> stages;
  for (const RankPlan::HeldStage& held : plan.stages) {
    std::unique_ptr<Stage> object = call_between_steps(
        [&] { return fmt::format("rank {}: making stage {}", plan.rank, held.stage); },
        [&] { return make_stage(held.stage); });
    call_between_steps(
        [&] { return fmt::format("rank {}: allocate() of stage {}", plan.rank, held.stage); },
        [&] { object->allocate(held.activation_slots); });
    stages.push_back({.stage = held.stage,
                      .direction = held.direction,
                      .object = std::move(object),
                      .gradient = {}});
  }
  for (const HeldStage& held : stages) {
    const Stage* const next = find_stage(stages, held.stage + 1);
    if (next != nullptr && next->input_bytes() != held.object->output_bytes()) {
      throw Error(ExitCode::usage,
                  fmt::format("stage {} gives {} bytes, but stage {} takes {}: neighbours must "
                              "agree on their boundary",
                              held.stage, held.object->output_bytes(), held.stage + 1,
                              next->input_bytes()));
    }
  }
  return stages;
}

const Stage* find_stage(std::span<const HeldStage> stages, int stage) {
  for (const HeldStage& held : stages) {
    if (held.stage == stage) {
      return held.object.get();
    }
  }
  return nullptr;
}

}  // namespace dualpipe
