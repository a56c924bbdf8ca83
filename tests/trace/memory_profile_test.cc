#include "trace/memory_profile.h"

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/cost_model.h"
#include "scheduler/generate.h"
#include "scheduler/memory.h"
#include "scheduler/pipeline.h"
#include "tests/support/simulated.h"
#include "tests/support/timelines.h"
#include "trace/metrics.h"
#include "trace/timeline.h"

namespace dualpipe {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

// One stage: 1000 of weights; a forward keeps 10 and 3 of logits, an input half leaves 4.
Timeline by_hand(std::string_view spans) {
  Timeline timeline = timeline_of(pipeline_on(linear_placement(1), 2), {spans});
  timeline.stage_bytes = {{.activation = 10, .weight_operands = 4, .logits = 3, .weights = 1000}};
  return timeline;
}

MemoryUse use(std::int64_t activations, std::int64_t weight_operands, std::int64_t logits) {
  return {.weights = 1000,
          .activations = activations,
          .weight_operands = weight_operands,
          .logits = logits};
}

TEST(MemoryOverTime, FollowsTheSlotsByHand) {
  const std::vector<RankMemory> ranks =
      memory_over_time(by_hand("0F0@5-6 0F1@6-8 0I0@8-9 0I1@9-10 0W0@12-13 0W1@13-14"));
  ASSERT_THAT(ranks, SizeIs(1));
  EXPECT_THAT(ranks[0].points,
              ElementsAre(MemoryPoint{Time(0), use(0, 0, 0)}, MemoryPoint{Time(5), use(10, 0, 3)},
                          MemoryPoint{Time(6), use(20, 0, 6)}, MemoryPoint{Time(9), use(10, 4, 3)},
                          MemoryPoint{Time(10), use(0, 8, 0)}, MemoryPoint{Time(13), use(0, 4, 0)},
                          MemoryPoint{Time(14), use(0, 0, 0)}));
  EXPECT_EQ(ranks[0].peak, (MemoryPoint{Time(6), use(20, 0, 6)}));
}

// At 2 an activation goes and the next one comes: nothing changes.
TEST(MemoryOverTime, WhatHappensAtOneTimeIsOnePoint) {
  const std::vector<RankMemory> ranks =
      memory_over_time(by_hand("0F0@0-1 0B0@1-2 0F1@2-3 0B1@3-4"));
  EXPECT_EQ(ranks[0].peak, (MemoryPoint{Time(0), use(10, 0, 3)}));
  EXPECT_THAT(ranks[0].points,
              ElementsAre(MemoryPoint{Time(0), use(10, 0, 3)}, MemoryPoint{Time(4), use(0, 0, 0)}));
}

TEST(MemoryOverTime, PeaksAreThoseOfTheMetricsForEveryFamily) {
  StageCosts stage = stage_costs({.forward = 7, .input = 5, .weight = 3, .overlapped = 11});
  stage.bytes = {.activation = 100, .weight_operands = 90, .boundary = 8, .weights = 1000};
  for (const Family* family : families()) {
    const Timeline timeline =
        simulated(family->name, {.ranks = 4, .microbatches = 8, .chunks = 2}, stage, Time(2));
    const Metrics metrics = measure(timeline);
    const std::vector<RankMemory> ranks = memory_over_time(timeline);
    for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
      EXPECT_EQ(ranks[rank].peak.use.total(), metrics.ranks[rank].peak_memory.total())
          << family->name;
      EXPECT_EQ(ranks[rank].points.back().use,
                resident_memory(timeline.pipeline.placement, timeline.stage_bytes,
                                MemoryPurpose::training)[rank])
          << family->name;
    }
  }
}

TEST(MemoryOverTime, WritesARowForEveryPoint) {
  EXPECT_EQ(to_csv(memory_over_time(by_hand("0F0@5-6 0B0@6-8"))),
            "rank,time,weights,gradients,optimizer,receive_buffers,activations,weight_operands,"
            "logits,total\n"
            "0,0,1000,0,0,0,0,0,0,1000\n0,5,1000,0,0,0,10,0,3,1013\n0,8,1000,0,0,0,0,0,0,1000\n");
}

}  // namespace
}  // namespace dualpipe
