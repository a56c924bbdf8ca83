#include "scheduler/channels.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "scheduler/op.h"
#include "scheduler/program.h"
#include "scheduler/schedule.h"
#include "tests/support/schedules.h"

namespace dualpipe {
namespace {

using testing::ElementsAre;

// Two directions over two ranks: each rank sends outputs of one and gradients of the other.
TEST(ChannelMap, HasOneChannelPerSourceDestinationAndKind) {
  const Schedule schedule = written(
      "placement: 0 1 | 1 0\ndirection: 0*2 1\n0F0 0F1 1F2 1B2 0B0 0B1\n0F2 1F0 1F1 1B0 1B1 0B2\n");
  const ChannelMap map(schedule);
  EXPECT_THAT(
      map.channels(),
      ElementsAre(Channel{0, 1, ValueKind::activation}, Channel{0, 1, ValueKind::input_gradient},
                  Channel{1, 0, ValueKind::activation}, Channel{1, 0, ValueKind::input_gradient}));
  EXPECT_THAT(map.counts(), ElementsAre(2, 1, 1, 2));
  EXPECT_EQ(map.of({ValueKind::activation, 0, 1}), 0);
  EXPECT_EQ(map.of({ValueKind::input_gradient, 1, 2}), 1);
  EXPECT_EQ(map.of({ValueKind::activation, 0, 2}), 2);
  EXPECT_EQ(map.of({ValueKind::input_gradient, 1, 0}), 3);
}

TEST(ChannelMap, LeavesOutWhatStaysOnItsRankOrLeavesThePipeline) {
  const Schedule schedule = written("0F0 3F0 3B0 0B0\n1F0 2F0 2B0 1B0\n");
  const ChannelMap map(schedule);
  EXPECT_EQ(map.of({ValueKind::activation, 1, 0}), ChannelMap::local);
  EXPECT_EQ(map.of({ValueKind::activation, 3, 0}), ChannelMap::local);
  EXPECT_EQ(map.of({ValueKind::input_gradient, 0, 0}), ChannelMap::local);
  EXPECT_EQ(map.of({ValueKind::weight_operands, 2, 0}), ChannelMap::local);
}

TEST(ChannelMap, OfInferenceHasNoGradients) {
  const Schedule schedule = written("0F0 0F1\n1F0 1F1\n");
  const ChannelMap map(schedule);
  EXPECT_THAT(map.channels(), ElementsAre(Channel{0, 1, ValueKind::activation}));
  EXPECT_THAT(map.counts(), ElementsAre(2));
  EXPECT_EQ(map.of({ValueKind::input_gradient, 1, 0}), ChannelMap::local);
}

}  // namespace
}  // namespace dualpipe
