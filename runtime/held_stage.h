// The Stage objects of one rank: one for each (stage, direction) that the placement gives it.

#pragma once

#include <memory>
#include <span>
#include <vector>

#include "runtime/rank_plan.h"
#include "runtime/stage.h"

namespace dualpipe {

// One Stage object of a rank, and where it belongs.
struct HeldStage {
  int stage = 0;
  int direction = 0;
  std::unique_ptr<Stage> object;
  // Of the last step, in the device's memory; complete after Executor::reduce_replicas().
  std::span<const float> gradient;
};

// Makes and allocates the rank's stages, as plan.stages. Throws Error (usage) when neighbours on
// this rank disagree about their boundary; and when a stage cannot be made or allocated, an Error
// that names rank and stage, with the stage's own code where it threw an Error, else callback.
[[nodiscard]] std::vector<HeldStage> make_held_stages(const RankPlan& plan,
                                                      const StageFactory& make_stage);

// Any object of this stage, or nullptr where the rank holds none.
[[nodiscard]] const Stage* find_stage(std::span<const HeldStage> stages, int stage);

}  // namespace dualpipe
