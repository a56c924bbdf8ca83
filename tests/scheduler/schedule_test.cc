#include "scheduler/schedule.h"

#include <initializer_list>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/error.h"
#include "scheduler/op.h"
#include "scheduler/pipeline.h"
#include "tests/support/refusal.h"

namespace dualpipe {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string refusal_of(const std::string& text) {
  return refusal(ExitCode::invalid_schedule, [&] { return parse_slot(text); });
}

TEST(Slot, OfOneOpIsThatOp) {
  const Slot slot = parse_op("2F5");
  EXPECT_FALSE(slot.is_pair());
  EXPECT_EQ(slot.front(), slot.back());
  EXPECT_THAT(std::vector<Op>(slot.begin(), slot.end()), ElementsAre(parse_op("2F5")));
}

TEST(Slot, PairIteratesForwardFirst) {
  const Slot slot = Slot::pair(parse_op("0F7"), parse_op("7B3"));
  EXPECT_TRUE(slot.is_pair());
  EXPECT_THAT(std::vector<Op>(slot.begin(), slot.end()),
              ElementsAre(parse_op("0F7"), parse_op("7B3")));
}

TEST(SlotText, RoundTripsInPyTorchsForm) {
  for (const char* text : {"0F3", "12W345", "(0F7;7B3)OVERLAP_F_B", "(10F0;3B12)OVERLAP_F_B"}) {
    EXPECT_EQ(to_string(parse_slot(text)), text);
  }
}

TEST(SlotText, RefusesWhatIsNoPair) {
  for (const char* bad : {"(", "()", "(;)", "(0F7;7B3)", "(0F7,7B3)OVERLAP_F_B", "(0F7)OVERLAP_F_B",
                          ")OVERLAP_F_B", "(0F7;7B3)OVERLAP_F_BX", "(0F7OVERLAP_F_B;",
                          "(0F7)OVERLAP_F_B;7B3", "()OVERLAP_F_B;", "(0F7;)OVERLAP_F_"}) {
    EXPECT_THAT(refusal_of(bad), HasSubstr("expected")) << bad;
  }
  EXPECT_THAT(refusal_of("(0F7;7B3)"), HasSubstr("as in (0F7;7B3)OVERLAP_F_B"));
}

TEST(SlotText, RefusesPairsOfOtherThanForwardAndWholeBackward) {
  for (const char* bad : {"(7B3;0F7)OVERLAP_F_B", "(0F7;7I3)OVERLAP_F_B", "(0F7;0F8)OVERLAP_F_B",
                          "(0W7;7B3)OVERLAP_F_B"}) {
    EXPECT_THAT(refusal_of(bad), HasSubstr("expected a forward (F), then a full backward (B)"));
  }
}

TEST(SlotText, RefusesBrokenOpsInsideAPair) {
  for (const char* bad : {"(;7B3)OVERLAP_F_B", "(0F7;)OVERLAP_F_B", "(0F7;7B3;1B1)OVERLAP_F_B",
                          "((0F7;7B3)OVERLAP_F_B;7B3)OVERLAP_F_B", "( 0F7;7B3)OVERLAP_F_B"}) {
    EXPECT_THAT(refusal_of(bad), HasSubstr("expected <stage><F|B|I|W><microbatch>")) << bad;
  }
}

TEST(ForwardOnly, KeepsTheForwardsInTheirOrder) {
  Schedule schedule;
  schedule.pipeline = {.name = "two", .placement = linear_placement(2), .direction = {0, 0}};
  const auto slots = [](std::initializer_list<const char*> texts) {
    std::vector<Slot> parsed;
    for (const char* text : texts) {
      parsed.push_back(parse_slot(text));
    }
    return parsed;
  };
  schedule.ranks = {slots({"0F1", "0F0", "0I1", "0W1", "0B0"}),
                    slots({"1F1", "(1F0;1B1)OVERLAP_F_B", "1B0"})};
  EXPECT_FALSE(is_forward_only(schedule));
  const Schedule inference = forward_only(schedule);
  EXPECT_EQ(inference.pipeline, schedule.pipeline);
  EXPECT_EQ(inference.ranks[0], slots({"0F1", "0F0"}));
  EXPECT_EQ(inference.ranks[1], slots({"1F1", "1F0"}));
  EXPECT_TRUE(is_forward_only(inference));
}

TEST(ForwardOnly, IsNotSaidOfAScheduleWithoutOps) {
  EXPECT_FALSE(is_forward_only(Schedule{}));
}

TEST(ValueName, IsThatOfTheOpThatWritesIt) {
  Schedule schedule;
  schedule.pipeline = {.name = "two", .placement = linear_placement(2), .direction = {0, 0}};
  schedule.ranks = {{}, {parse_slot("1I0"), parse_slot("(1F1;1B1)OVERLAP_F_B")}};
  EXPECT_EQ(name_of({ValueKind::activation, 0, 1}, schedule), "0F1's output");
  EXPECT_EQ(name_of({ValueKind::input_gradient, 1, 0}, schedule), "1I0's gradient");
  EXPECT_EQ(name_of({ValueKind::input_gradient, 1, 1}, schedule), "1B1's gradient");
}

}  // namespace
}  // namespace dualpipe
