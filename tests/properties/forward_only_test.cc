// Inference with the schedules of training: their forwards alone.

#include <gtest/gtest.h>

#include "costs/cost_model.h"
#include "scheduler/compile.h"
#include "scheduler/generate.h"
#include "scheduler/memory.h"
#include "scheduler/schedule.h"
#include "tests/support/schedules.h"
#include "tests/support/simulated.h"
#include "trace/metrics.h"
#include "trace/timeline.h"

namespace dualpipe {
namespace {

Schedule inference(const Family& family, const Shape& shape) {
  return forward_only(quickly_generated(family, shape));
}

// Published for the reference implementation: M + P - 2 forwards.
TEST(ForwardOnly, DualPipeTakesMicrobatchesPlusRanksLessTwoForwards) {
  const Family& family = find_family("dualpipe");
  for (int ranks = 2; ranks <= 16; ranks += 2) {
    for (int microbatches = 2 * ranks; microbatches <= 3 * ranks; microbatches += 2) {
      const Shape shape{.ranks = ranks, .microbatches = microbatches};
      EXPECT_EQ(makespan(simulated(inference(family, shape), stage_costs({}))),
                Time(microbatches + ranks - 2))
          << to_string(family, shape);
    }
  }
}

// The last rank begins at P-1, has 2M forwards without a gap, and the last of them has P-1 more
// ranks to pass: 2M + 2P - 2.
TEST(ForwardOnly, DualPipeVTakesTwiceMicrobatchesAndRanksLessTwoForwards) {
  const Family& family = find_family("dualpipev");
  for (int ranks = 1; ranks <= 12; ++ranks) {
    for (int microbatches = 2 * ranks; microbatches <= 2 * ranks + 5; ++microbatches) {
      const Shape shape{.ranks = ranks, .microbatches = microbatches};
      EXPECT_EQ(makespan(simulated(inference(family, shape), stage_costs({}))),
                Time(2 * microbatches + 2 * ranks - 2))
          << to_string(family, shape);
    }
  }
}

// One microbatch after another through P ranks of one stage each: M + P - 1.
TEST(ForwardOnly, OneDirectionTakesMicrobatchesPlusRanksLessOneForwards) {
  for (const char* name : {"gpipe", "1f1b"}) {
    for (const Shape& shape :
         supported_shapes(find_family(name), {.ranks = 6, .microbatches = 9, .chunks = 1})) {
      EXPECT_EQ(makespan(simulated(inference(find_family(name), shape), stage_costs({}))),
                Time(shape.microbatches + shape.ranks - 1))
          << name << ", " << shape.ranks << " ranks, " << shape.microbatches << " microbatches";
    }
  }
}

TEST(ForwardOnly, EveryFamilyIsSafeAndKeepsOneActivationAtATime) {
  for (const Family* family : families()) {
    for (const Shape& shape :
         supported_shapes(*family, {.ranks = 4, .microbatches = 9, .chunks = 2})) {
      SCOPED_TRACE(to_string(*family, shape));
      const Schedule schedule = inference(*family, shape);
      ASSERT_TRUE(is_forward_only(schedule));
      EXPECT_TRUE(compile(schedule, eager).program);
      EXPECT_FALSE(find_excess(schedule, {}, {.amount = 1}));
      EXPECT_TRUE(find_excess(schedule, {}, {.amount = 0}));
      for (const RankMetrics& rank : measure(simulated(schedule, stage_costs({}))).ranks) {
        EXPECT_EQ(rank.peak_activations, 1);
      }
    }
  }
}

}  // namespace
}  // namespace dualpipe
