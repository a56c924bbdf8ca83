#include "scheduler/program_builder.h"

#include <string_view>

#include <gtest/gtest.h>

#include "scheduler/program.h"
#include "scheduler/violations.h"
#include "tests/support/instructions.h"
#include "tests/support/schedules.h"

namespace dualpipe {
namespace {

constexpr std::string_view tiny = "0F0 0F1 0B0 0B1\n1F0 1B0 1F1 1B1\n";

Program built(std::string_view schedule, const TransportSemantics& semantics) {
  Violations violations;
  Program program = ProgramBuilder(written(schedule), semantics).build({}, violations);
  EXPECT_TRUE(violations.empty());
  return program;
}

// Receives are posted one ahead, sends free their only buffer before the next is written.
TEST(ProgramBuilder, PostsReceivesAheadAndWaitsForSendBuffers) {
  const Program program = built(tiny, {.receives_ahead = 1, .send_slots = 1});
  EXPECT_EQ(instructions_of(program, 0),
            "receive g0, receive g1, 0F0, send a0, sent a0, 0F1, send a1, await g0, 0B0, await g1, "
            "0B1, sent a1");
  EXPECT_EQ(instructions_of(program, 1),
            "receive a0, receive a1, await a0, 1F0, 1B0, send g0, await a1, 1F1, sent g0, 1B1, "
            "send g1, sent g1");
}

TEST(ProgramBuilder, BlockingCallsWaitForEverythingAtOnce) {
  const Program program = built(tiny, blocking_world);
  EXPECT_EQ(instructions_of(program, 0),
            "0F0, send a0, sent a0, 0F1, send a1, sent a1, receive g0, await g0, 0B0, receive g1, "
            "await g1, 0B1");
}

// Sends wait until the next slot, and go out with the receives it needs.
TEST(ProgramBuilder, GroupsHoldTheSendsOfOneSlotAndTheReceivesOfTheNext) {
  const Program program = built(tiny, grouped_world);
  EXPECT_EQ(instructions_of(program, 0),
            "0F0, send a0, go, sent a0, 0F1, send a1, receive g0, go, sent a1, await g0, 0B0, "
            "receive g1, go, await g1, 0B1");
  EXPECT_EQ(instructions_of(program, 1),
            "receive a0, go, await a0, 1F0, 1B0, send g0, receive a1, go, sent g0, await a1, 1F1, "
            "1B1, send g1, go, sent g1");
}

TEST(ProgramBuilder, MoreSlotsLetMoreSendsBeUnderWay) {
  const Program program = built("0F0 0F1 0F2 0B0 0B1 0B2\n1F0 1F1 1F2 1B0 1B1 1B2\n",
                                {.receives_ahead = 0, .send_slots = 2});
  EXPECT_EQ(instructions_of(program, 0),
            "0F0, send a0, 0F1, send a1, sent a0, 0F2, send a2, receive g0, await g0, 0B0, receive "
            "g1, await g1, 0B1, receive g2, await g2, 0B2, sent a1, sent a2");
}

TEST(ProgramBuilder, TheTurnOfAVIsNoMessage) {
  const Program program = built("0F0 3F0 3B0 0B0\n1F0 2F0 2B0 1B0\n", {.receives_ahead = 0});
  EXPECT_EQ(instructions_of(program, 1),
            "receive a0, await a0, 1F0, 2F0, send a0, receive g0, await g0, 2B0, 1B0, send g0, "
            "sent a0, sent g0");
}

}  // namespace
}  // namespace dualpipe
