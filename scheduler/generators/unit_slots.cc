#include "scheduler/generators/unit_slots.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "costs/check.h"
#include "costs/cost_model.h"
#include "scheduler/op.h"
#include "scheduler/pipeline.h"
#include "scheduler/schedule.h"

namespace dualpipe {
namespace {

struct Placed {
  std::int64_t slot = 0;
  int within = 0;  // of the forwards that share a slot
  Op op;

  [[nodiscard]] bool before(const Placed& other) const {
    return slot != other.slot ? slot < other.slot : within < other.within;
  }
};

}  // namespace

RankOrders unit_slots(const Placement& placement, int microbatches, const Block& block) {
  const int stages = placement.stages();
  const int block_microbatches = block.entries * block.together;
  const std::int64_t block_slots = std::int64_t{block.entries} * (1 + block.together) *
                                   placement.chunks() * placement.directions();
  std::vector<std::vector<Placed>> placed(static_cast<std::size_t>(placement.ranks));
  const std::vector<int> direction =
      directions_of_microbatches(microbatches, placement.directions());
  std::vector<int> entered(static_cast<std::size_t>(placement.directions()), 0);
  for (int microbatch = 0; microbatch < microbatches; ++microbatch) {
    const std::size_t way =
        static_cast<std::size_t>(direction[static_cast<std::size_t>(microbatch)]);
    const int number = entered[way]++;
    const int in_block = number % block_microbatches;
    const int within = in_block % block.together;
    const std::int64_t begin = number / block_microbatches * block_slots;
    for (int stage = 0; stage < stages; ++stage) {
      const int rank = placement.rank_of_stage[way][static_cast<std::size_t>(stage)];
      std::vector<Placed>& slots = placed[static_cast<std::size_t>(rank)];
      slots.push_back({.slot = begin + stage + std::int64_t{2} * (in_block / block.together),
                       .within = within,
                       .op = {stage, OpKind::forward, microbatch}});
      slots.push_back(
          {.slot = begin + 2 * std::int64_t{stages} - 1 - stage + std::int64_t{2} * in_block,
           .within = 0,
           .op = {stage, OpKind::backward, microbatch}});
    }
  }
  RankOrders ranks;
  for (std::vector<Placed>& slots : placed) {
    std::sort(slots.begin(), slots.end(),
              [](const Placed& one, const Placed& other) { return one.before(other); });
    std::vector<Slot>& order = ranks.emplace_back();
    order.reserve(slots.size());
    for (std::size_t i = 0; i < slots.size(); ++i) {
      CHECK(i == 0 || slots[i - 1].before(slots[i]));
      order.emplace_back(slots[i].op);
    }
  }
  return ranks;
}

Time idle_of_blocks(const Block& block, int blocks, const StageCosts& stage) {
  const Time faster = std::min(stage.forward, stage.backward());
  const Time slower = std::max(stage.forward, stage.backward());
  return 2 * (block.entries - 1) * (slower + (blocks - 1) * (slower - faster));
}

}  // namespace dualpipe
