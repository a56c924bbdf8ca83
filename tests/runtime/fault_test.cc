#include "runtime/fault.h"

#include <chrono>
#include <optional>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/error.h"
#include "runtime/transport.h"
#include "tests/support/refusal.h"

namespace dualpipe {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::string complaint(const std::string& text) {
  return refusal(ExitCode::usage, [&] { return parse_fault(text); });
}

TEST(Fault, AKindAloneConcernsEveryPipelineMessageOfEveryRank) {
  const Fault fault = parse_fault("drop");
  EXPECT_EQ(fault.kind, Fault::Kind::drop);
  EXPECT_TRUE(fault.concerns(0, MessageClass::activation));
  EXPECT_TRUE(fault.concerns(7, MessageClass::gradient));
  EXPECT_FALSE(fault.concerns(0, MessageClass::replica));
  EXPECT_FALSE(fault.concerns(0, MessageClass::control));
  EXPECT_EQ(fault.message, std::nullopt);
  EXPECT_EQ(fault.share, 1.0);
}

TEST(Fault, KeysSayWhichMessages) {
  const Fault fault = parse_fault("jitter:rank=3,message=17,class=replica,share=0.25,ms=1.5");
  EXPECT_EQ(fault.kind, Fault::Kind::jitter);
  EXPECT_TRUE(fault.concerns(3, MessageClass::replica));
  EXPECT_FALSE(fault.concerns(2, MessageClass::replica));
  EXPECT_FALSE(fault.concerns(3, MessageClass::activation));
  EXPECT_EQ(fault.message, 17U);
  EXPECT_EQ(fault.share, 0.25);
  EXPECT_EQ(fault.time, std::chrono::microseconds(1500));
}

TEST(Fault, WhatCannotBeReadIsNamedWithWhatWasExpected) {
  EXPECT_THAT(complaint("drip:rank=1"),
              AllOf(HasSubstr("kind: expected one of delay, jitter"), HasSubstr("found 'drip'"),
                    HasSubstr("did you mean 'drop'?")));
  EXPECT_THAT(complaint(""), HasSubstr("kind: expected one of"));
  EXPECT_THAT(complaint("drop:mesage=1"),
              AllOf(HasSubstr("rank, message, class, share, ms"), HasSubstr("'mesage'"),
                    HasSubstr("did you mean 'message'?")));
  EXPECT_THAT(complaint("drop:message"), HasSubstr("message: expected a number from 0"));
  EXPECT_THAT(complaint("drop:message=-1"), HasSubstr("expected a number from 0"));
  EXPECT_THAT(complaint("drop:rank=1x"), HasSubstr("rank: expected a number from 0"));
  EXPECT_THAT(complaint("drop:share=1.5"), HasSubstr("share: expected a number from 0 to 1"));
  EXPECT_THAT(complaint("drop:share=nan"), HasSubstr("share: expected a number from 0 to 1"));
  EXPECT_THAT(complaint("drop:class=gradients"), HasSubstr("did you mean 'gradient'?"));
  EXPECT_THAT(complaint("drop:,"), HasSubstr("expected KEY=VALUE"));
}

TEST(Fault, TimeIsGivenWhereItIsTakenAndNowhereElse) {
  EXPECT_THAT(complaint("delay:rank=1"), HasSubstr("write for example delay:ms=2"));
  EXPECT_THAT(complaint("corrupt:ms=2"), HasSubstr("corrupt takes no time; leave out ms"));
}

TEST(Fault, TheSyntaxNamesAllKinds) {
  for (const char* kind :
       {"delay", "jitter", "reorder", "duplicate", "drop", "truncate", "corrupt", "slow", "die"}) {
    EXPECT_THAT(fault_syntax(), HasSubstr(kind));
  }
}

}  // namespace
}  // namespace dualpipe
