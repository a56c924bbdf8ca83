#include "runtime/step_memory.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "costs/check.h"
#include "runtime/held_stage.h"
#include "runtime/rank_plan.h"

namespace dualpipe {

StepMemory::StepMemory(const RankPlan& plan, std::span<const HeldStage> stages,
                       std::size_t message_bytes)
    : stages_(stages), message_bytes_(static_cast<std::int64_t>(message_bytes)) {
  for (const RankPlan::HeldStage& held : plan.stages) {
    slots_.push_back({.planned = held.activation_slots});
  }
}

void StepMemory::occupy(int held) {
  Slots& slots = slots_[static_cast<std::size_t>(held)];
  slots.most = std::max(slots.most, ++slots.occupied);
}

void StepMemory::release(int held) {
  Slots& slots = slots_[static_cast<std::size_t>(held)];
  CHECK(slots.occupied > 0);
  --slots.occupied;
}

StepBytes StepMemory::bytes() const {
  StepBytes bytes{.planned = message_bytes_, .measured = message_bytes_};
  for (std::size_t held = 0; held < slots_.size(); ++held) {
    const std::int64_t activation = stages_[held].object->activation_bytes();
    bytes.planned += slots_[held].planned * activation;
    bytes.measured += slots_[held].most * activation;
  }
  return bytes;
}

}  // namespace dualpipe
