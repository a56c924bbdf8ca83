#include "scheduler/op.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/error.h"
#include "tests/support/refusal.h"

namespace dualpipe {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using testing::UnorderedElementsAre;

constexpr int stages = 4;

TEST(Reads, FirstForwardReadsNothing) {
  EXPECT_THAT(reads(parse_op("0F5"), stages), IsEmpty());
}

TEST(Reads, ForwardReadsTheActivationOfTheStageBefore) {
  EXPECT_THAT(reads(parse_op("2F5"), stages),
              UnorderedElementsAre(Value{ValueKind::activation, 1, 5}));
}

TEST(Reads, BackwardReadsItsActivationAndTheNextStagesGradient) {
  for (const char* backward : {"2B5", "2I5"}) {
    EXPECT_THAT(reads(parse_op(backward), stages),
                UnorderedElementsAre(Value{ValueKind::activation, 2, 5},
                                     Value{ValueKind::input_gradient, 3, 5}))
        << backward;
  }
}

TEST(Reads, LastBackwardStartsFromItsOwnLoss) {
  EXPECT_THAT(reads(parse_op("3B5"), stages),
              UnorderedElementsAre(Value{ValueKind::activation, 3, 5}));
}

TEST(Reads, WeightHalfReadsOnlyWhatItsInputHalfKept) {
  EXPECT_THAT(reads(parse_op("2W5"), stages),
              UnorderedElementsAre(Value{ValueKind::weight_operands, 2, 5}));
}

// A split backward must unblock the stage before it exactly as a whole one does.
TEST(Writes, WholeAndInputBackwardHandBackTheSameGradient) {
  const Value gradient{ValueKind::input_gradient, 2, 5};
  EXPECT_THAT(writes(parse_op("2B5")), Contains(gradient));
  EXPECT_THAT(writes(parse_op("2I5")), Contains(gradient));
}

TEST(Writes, EachKindWritesWhatItIsFor) {
  EXPECT_THAT(writes(parse_op("2F5")), UnorderedElementsAre(Value{ValueKind::activation, 2, 5}));
  EXPECT_THAT(writes(parse_op("2B5")), SizeIs(1));
  EXPECT_THAT(writes(parse_op("2I5")), Contains(Value{ValueKind::weight_operands, 2, 5}));
  EXPECT_THAT(writes(parse_op("2W5")), IsEmpty());
}

// Who reads a value beside the stage that wrote it, asked of every op there is.
TEST(ReceivingStage, IsTheOtherStageThatReadsTheValue) {
  for (const ValueKind kind :
       {ValueKind::activation, ValueKind::input_gradient, ValueKind::weight_operands}) {
    for (int writer = 0; writer < stages; ++writer) {
      int reader = -1;
      for (int stage = 0; stage < stages; ++stage) {
        for (const OpKind op : {OpKind::forward, OpKind::backward, OpKind::backward_weight}) {
          for (const Value& value : reads({stage, op, 0}, stages)) {
            reader = value == Value{kind, writer, 0} && stage != writer ? stage : reader;
          }
        }
      }
      EXPECT_EQ(receiving_stage({kind, writer, 0}, stages), reader)
          << to_string(Value{kind, writer, 0});
    }
  }
}

TEST(ReceivingStage, OfASingleStageThereIsNone) {
  EXPECT_EQ(receiving_stage({ValueKind::activation, 0, 0}, 1), -1);
  EXPECT_EQ(receiving_stage({ValueKind::input_gradient, 0, 0}, 1), -1);
}

TEST(OpText, RoundTrips) {
  for (const char* text : {"0F0", "12W345", "7I1", "3B9", "2147483647F2147483647"}) {
    EXPECT_EQ(to_string(parse_op(text)), text);
  }
}

TEST(OpText, ReadsStageKindAndMicrobatch) {
  EXPECT_EQ(parse_op("12W345"),
            (Op{.stage = 12, .kind = OpKind::backward_weight, .microbatch = 345}));
}

TEST(OpText, SaysWhatIsWrong) {
  for (const char* bad : {"", "F5", "2X5", "2F", "2F5 ", " 2F5", "-1F5", "2F-5", "2F-0", "+2F5",
                          "2F5F5", "2f5", "2147483648F0", "0F99999999999999999999", "2 F5"}) {
    EXPECT_THAT(refusal(ExitCode::invalid_schedule, [&] { return parse_op(bad); }),
                AllOf(HasSubstr("'" + std::string(bad) + "'"),
                      HasSubstr("expected <stage><F|B|I|W><microbatch>, as in 2F5")));
  }
}

TEST(OpText, QuotesNoMoreThanTheBeginningOfALongWord) {
  const std::string message =
      refusal(ExitCode::invalid_schedule, [] { return parse_op(std::string(100'000, '7')); });
  EXPECT_LT(message.size(), 150U);
}

TEST(ReadsDeathTest, StopsAtAStageThatThereIsNot) {
  EXPECT_DEATH((void)reads(parse_op("4F0"), 4), "4F0: a pipeline of 4 stages");
  EXPECT_DEATH((void)reads({.stage = -1}, 4), "-1F0: a pipeline of 4 stages");
}

TEST(ValueText, SaysKindStageAndMicrobatch) {
  EXPECT_EQ(to_string(Value{ValueKind::activation, 2, 5}),
            "the activation of stage 2, microbatch 5");
  EXPECT_EQ(to_string(Value{ValueKind::input_gradient, 3, 1}),
            "the input gradient of stage 3, microbatch 1");
  EXPECT_EQ(to_string(Value{ValueKind::weight_operands, 0, 0}),
            "the weight operands of stage 0, microbatch 0");
}

}  // namespace
}  // namespace dualpipe
