#include "sim/closed_form.h"

#include <optional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/cost_model.h"
#include "scheduler/generate.h"
#include "tests/support/schedules.h"
#include "tests/support/simulated.h"
#include "trace/timeline.h"

namespace dualpipe {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const StageCosts stage = stage_costs({.forward = 10, .input = 12, .weight = 8, .overlapped = 25});

PublishedTime published(const char* family, const Shape& shape, const CostModel& costs) {
  return published_time(find_family(family), shape, costs);
}

TEST(PublishedTime, HoldsWhereTheFormulaCoversWhatIsAsked) {
  const PublishedTime time =
      published("1f1b", {.ranks = 4, .microbatches = 8}, equal_costs(4, stage, Time(2)));
  EXPECT_EQ(time.step_time, Time((8 + 3) * 30 + 2 * 2 * (3 * 3 - 1)));
  EXPECT_THAT(time.reasons, IsEmpty());
}

// The mean of 10, 10, 10 and 14 is 11; only forwards differ.
TEST(PublishedTime, TakesTheMeanOfUnequalStages) {
  CostModel costs = equal_costs(4, stage);
  costs.stages[3].forward = Time(14);
  const PublishedTime time = published("gpipe", {.ranks = 4, .microbatches = 5}, costs);
  EXPECT_EQ(time.step_time, Time((5 + 3) * 31));
  EXPECT_THAT(time.reasons,
              ElementsAre("it is for stages of equal cost, but the forward of stage 3 takes 14 ns "
                          "and the mean 11 ns"));
}

TEST(PublishedTime, TakesTransfersForFreeWhereTheFormulaHasNone) {
  const PublishedTime time =
      published("dualpipe", {.ranks = 4, .microbatches = 8}, equal_costs(4, stage, Time(3)));
  // H = 2, M = 8: 4F + max(2F, I) + 4FB + 4B + max(I-W, 0).
  EXPECT_EQ(time.step_time, Time(40 + 20 + 100 + 80 + 4));
  EXPECT_THAT(time.reasons, ElementsAre(HasSubstr("transfers of 3 ns")));
}

TEST(PublishedTime, LeavesOutNodesAndTheTail) {
  CostModel costs = equal_costs(4, stage, Time(2));
  costs.ranks_per_node = 2;
  costs.p2p_in_node = Time(1);
  costs.stages[1].tail.optimizer = Time(5);
  const PublishedTime time = published("gpipe", {.ranks = 4, .microbatches = 5}, costs);
  EXPECT_EQ(time.step_time, Time((5 + 3) * 30 + 2 * 3 * 2));
  EXPECT_THAT(time.reasons, ElementsAre(HasSubstr("ends with the last slot"),
                                        HasSubstr("between ranks of one node they take 1 ns")));
}

TEST(PublishedTime, NamesTheNearestShapeThatIsCovered) {
  const PublishedTime time =
      published("chimera", {.ranks = 4, .microbatches = 9}, equal_costs(4, stage));
  EXPECT_EQ(time.step_time, std::nullopt);
  EXPECT_THAT(time.reasons, ElementsAre("it does not cover 9 microbatches on 4 ranks; the nearest "
                                        "number that it does is 8"));
}

TEST(PublishedTime, SaysThatAnArrangedOrderHasNone) {
  const PublishedTime time =
      published("zb-1p", {.ranks = 4, .microbatches = 9}, equal_costs(4, stage));
  EXPECT_EQ(time.step_time, std::nullopt);
  EXPECT_THAT(time.reasons, ElementsAre(HasSubstr("depends on the costs")));
}

// Whatever is said without reservation must be true.
TEST(PublishedTime, EqualsTheSimulationWhereThereIsNoReasonAgainst) {
  for (const Family* family : families()) {
    for (const Shape& shape :
         supported_shapes(*family, {.ranks = 4, .microbatches = 9, .chunks = 2})) {
      for (const Time p2p : {Time{}, Time(2)}) {
        const int stages = family->placement(shape).stages();
        const PublishedTime time = published_time(*family, shape, equal_costs(stages, stage, p2p));
        ASSERT_TRUE(time.step_time || !time.reasons.empty()) << to_string(*family, shape);
        if (time.reasons.empty()) {
          EXPECT_EQ(time.step_time,
                    makespan(simulated(quickly_generated(*family, shape), stage, p2p)))
              << to_string(*family, shape);
        }
      }
    }
  }
}

}  // namespace
}  // namespace dualpipe
