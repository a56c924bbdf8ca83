#include "scheduler/schedule.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/error.h"
#include "scheduler/op.h"
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

}  // namespace
}  // namespace dualpipe
