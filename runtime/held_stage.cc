#include "runtime/held_stage.h"

#include <exception>
#include <memory>
#include <span>
#include <vector>

#include <fmt/core.h>

#include "costs/error.h"
#include "runtime/rank_plan.h"
#include "runtime/stage.h"

namespace dualpipe {
namespace {

// An Error says what it is by itself: a stage that refuses its options, say.
std::unique_ptr<Stage> make_object(const RankPlan::HeldStage& held,
                                   const StageFactory& make_stage) {
  try {
    std::unique_ptr<Stage> object = make_stage(held.stage);
    object->allocate(held.activation_slots);
    return object;
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    throw Error(ExitCode::callback, fmt::format("stage {} could not be made, with {} slots: {}",
                                                held.stage, held.activation_slots, error.what()));
  }
}

}  // namespace

std::vector<HeldStage> make_held_stages(const RankPlan& plan, const StageFactory& make_stage) {
  std::vector<HeldStage> stages;
  for (const RankPlan::HeldStage& held : plan.stages) {
    stages.push_back({.stage = held.stage,
                      .direction = held.direction,
                      .object = make_object(held, make_stage),
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
