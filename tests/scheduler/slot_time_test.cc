#include "scheduler/slot_time.h"

#include <gtest/gtest.h>

#include "costs/cost_model.h"
#include "scheduler/schedule.h"

namespace dualpipe {
namespace {

const CostModel costs{.stages = {{.forward = Time(2),
                                  .backward_input = Time(3),
                                  .backward_weight = Time(5),
                                  .overlapped = Time(10)},
                                 {.forward = Time(7),
                                  .backward_input = Time(11),
                                  .backward_weight = Time(14),
                                  .overlapped = Time(26)}},
                      .p2p = Time(4)};

TEST(SlotTime, IsThatOfTheKindAtTheStage) {
  EXPECT_EQ(slot_time(parse_slot("0F9"), costs), Time(2));
  EXPECT_EQ(slot_time(parse_slot("1F0"), costs), Time(7));
  EXPECT_EQ(slot_time(parse_slot("0I1"), costs), Time(3));
  EXPECT_EQ(slot_time(parse_slot("1W1"), costs), Time(14));
  EXPECT_EQ(slot_time(parse_slot("1B1"), costs), Time(25));
}

// Nothing is saved at stage 0, 6 at stage 1, of which a pair of both has half.
TEST(SlotTime, OfAPairIsTheirOverlap) {
  EXPECT_EQ(slot_time(parse_slot("(1F0;1B1)OVERLAP_F_B"), costs), Time(26));
  EXPECT_EQ(slot_time(parse_slot("(1F0;0B1)OVERLAP_F_B"), costs), Time(7 + 8 - 3));
  EXPECT_EQ(slot_time(parse_slot("(0F0;1B1)OVERLAP_F_B"), costs), Time(25));  // its longer half
}

TEST(WithMeanStages, GivesEveryStageTheMeanTimes) {
  const CostModel mean = with_mean_stages(costs);
  ASSERT_EQ(mean.stages.size(), 2U);
  EXPECT_EQ(mean.stages[0], mean.stages[1]);
  EXPECT_EQ(mean.stages[0].forward, Time(4));  // 4.5, rounded down
  EXPECT_EQ(mean.stages[0].backward_input, Time(7));
  EXPECT_EQ(mean.stages[0].backward_weight, Time(9));
  EXPECT_EQ(mean.stages[0].overlapped, Time(18));
  EXPECT_EQ(mean.p2p, Time(4));
}

}  // namespace
}  // namespace dualpipe
