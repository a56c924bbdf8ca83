#include "scheduler/program_builder.h"

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "scheduler/communication.h"
#include "scheduler/compile.h"
#include "scheduler/op.h"
#include "scheduler/program.h"
#include "scheduler/schedule.h"
#include "scheduler/violations.h"
#include "tests/support/schedules.h"

namespace dualpipe {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

using Step = CommunicationStep::Kind;

constexpr std::string_view tiny = "0F0 0F1 0B0 0B1\n1F0 1B0 1F1 1B1\n";

// "receive a0" posts the receive of the activation of microbatch 0, "await_sent g1" waits for the
// send buffer of the gradient of microbatch 1, "0F0" runs.
std::string instructions_of(const Program& program, int rank) {
  std::string text;
  const auto message = [&](std::int32_t index) {
    const Value& value = program.message(index).value;
    return (value.kind == ValueKind::activation ? "a" : "g") + std::to_string(value.microbatch);
  };
  for (const Instruction& instruction : program.instructions(rank)) {
    text += text.empty() ? "" : ", ";
    switch (instruction.kind) {
      case Instruction::Kind::receive:
        text += "receive " + message(instruction.index);
        break;
      case Instruction::Kind::await_received:
        text += "await " + message(instruction.index);
        break;
      case Instruction::Kind::run:
        text += to_string(program.slots(rank)[static_cast<std::size_t>(instruction.index)]);
        break;
      case Instruction::Kind::send:
        text += "send " + message(instruction.index);
        break;
      case Instruction::Kind::await_sent:
        text += "sent " + message(instruction.index);
        break;
      case Instruction::Kind::end_group:
        text += "go";
        break;
    }
  }
  return text;
}

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

// --- a given order of communication ---

// "run", "go", "send a0", "receive g1" of stage 0's activations and stage 1's gradients.
std::vector<CommunicationStep> steps_of(const std::vector<std::string>& texts) {
  std::vector<CommunicationStep> steps;
  for (const std::string& text : texts) {
    if (text == "run" || text == "go") {
      steps.push_back({.kind = text == "run" ? Step::run : Step::commit, .value = {}});
      continue;
    }
    const bool gradient = text[text.size() - 2] == 'g';
    steps.push_back({.kind = text.starts_with("send") ? Step::send : Step::receive,
                     .value = {gradient ? ValueKind::input_gradient : ValueKind::activation,
                               gradient ? 1 : 0, text.back() - '0'}});
  }
  return steps;
}

const std::vector<std::string> good_second{
    "receive a0", "go", "run", "run", "send g0", "receive a1", "go", "run", "run", "send g1", "go"};

Compilation compiled(const std::vector<std::string>& first,
                     const std::vector<std::string>& second = good_second) {
  return compile(written(tiny), grouped_world, {steps_of(first), steps_of(second)});
}

std::string first_message(const Compilation& compilation) {
  EXPECT_FALSE(compilation.program);
  return compilation.violations.empty() ? "" : compilation.violations.front().message;
}

Program program_of(const Compilation& compilation) {
  if (!compilation.program) {
    throw std::runtime_error(first_message(compilation));
  }
  return *compilation.program;
}

TEST(GivenCommunication, IsTakenAsItIs) {
  const Program program =
      program_of(compiled({"run", "send a0", "go", "run", "send a1", "receive g0", "go", "run",
                           "receive g1", "go", "run"}));
  EXPECT_EQ(instructions_of(program, 0),
            "0F0, send a0, go, sent a0, 0F1, send a1, receive g0, go, sent a1, await g0, 0B0, "
            "receive g1, go, await g1, 0B1");
  EXPECT_EQ(program.send_buffers(), 1);
  EXPECT_EQ(program.receive_buffers(), 1);
}

TEST(GivenCommunication, MayHoldSendsBackAndReceiveEarlyAtThePriceOfBuffers) {
  const Program program =
      program_of(compiled({"run", "run", "send a0", "go", "send a1", "receive g0", "go",
                           "receive g1", "go", "run", "run"}));
  EXPECT_EQ(program.send_buffers(), 2);
  EXPECT_EQ(program.receive_buffers(), 2);
}

// A send that waits in an open group still needs its buffer.
TEST(GivenCommunication, AnOpenGroupOccupiesBuffers) {
  const Program program =
      program_of(compiled({"run", "send a0", "run", "go", "send a1", "receive g0", "go", "run",
                           "receive g1", "go", "run"}));
  EXPECT_EQ(program.send_buffers(), 2);
}

TEST(GivenCommunication, MustReceiveWhatASlotReadsBeforeItRuns) {
  EXPECT_THAT(first_message(compiled({"run", "send a0", "go", "run", "send a1", "go", "run",
                                      "receive g0", "go", "receive g1", "go", "run"})),
              HasSubstr("0B0 runs before the receive of the input gradient of stage 1, microbatch "
                        "0"));
  EXPECT_THAT(first_message(compiled({"run", "send a0", "go", "run", "send a1", "receive g0", "run",
                                      "go", "receive g1", "go", "run"})),
              HasSubstr("0B0 runs before the receive of"));
  EXPECT_THAT(first_message(compiled({"run", "send a0", "go", "run", "send a1", "receive g1", "go",
                                      "run", "receive g0", "go", "run"})),
              HasSubstr("0B0 runs before the receive of"));
}

TEST(GivenCommunication, MustCommunicateEverything) {
  EXPECT_THAT(first_message(compiled({"run", "send a0", "go", "run", "receive g0", "go", "run",
                                      "receive g1", "go", "run"})),
              HasSubstr("activation 0->1: 2 messages are needed, 1 are sent and 2 received"));
}

TEST(GivenCommunication, MustNotSendAValueBeforeItIsWritten) {
  EXPECT_THAT(first_message(compiled({"send a0", "go", "run", "run", "send a1", "receive g0", "go",
                                      "run", "receive g1", "go", "run"})),
              HasSubstr("sends the activation of stage 0, microbatch 0 before it is written"));
}

// Buffers are given out in the order of writing, so sends must keep to it.
TEST(GivenCommunication, MustSendInTheOrderOfWriting) {
  const Compilation compilation = compiled({"run", "run", "send a1", "go", "send a0", "receive g0",
                                            "go", "run", "receive g1", "go", "run"},
                                           {"receive a1", "go", "receive a0", "go", "run", "run",
                                            "send g0", "go", "run", "run", "send g1", "go"});
  EXPECT_FALSE(compilation.program);
}

TEST(GivenCommunication, MustNotCommunicateAnythingTwice) {
  EXPECT_THAT(compiled({"run", "send a0", "go", "run", "send a1", "send a1", "receive g0", "go",
                        "run", "receive g1", "go", "run"})
                  .violations,
              Not(IsEmpty()));
  EXPECT_THAT(compiled({"run", "send a0", "go", "run", "send a1", "receive g0", "go", "run",
                        "receive g1", "go", "run", "receive g1", "receive g1", "go"})
                  .violations,
              Not(IsEmpty()));
}

TEST(GivenCommunication, MustLetTheLastGroupGo) {
  std::vector<std::string> second = good_second;
  second.pop_back();
  EXPECT_THAT(first_message(compiled({"run", "send a0", "go", "run", "send a1", "receive g0", "go",
                                      "run", "receive g1", "go", "run"},
                                     second)),
              HasSubstr("rank 1 never lets its last group go"));
}

TEST(GivenCommunication, IsOfARanksOwnValues) {
  std::vector<std::string> second = good_second;
  second.insert(second.end() - 1, "send a1");
  EXPECT_THAT(first_message(compiled({"run", "send a0", "go", "run", "receive g0", "go", "run",
                                      "receive g1", "go", "run"},
                                     second)),
              HasSubstr("rank 1 sends the activation of stage 0, microbatch 1 in another rank's "
                        "place"));
}

TEST(GivenCommunication, OutOfOrderBetweenTwoRanksIsASwap) {
  // Both ranks agree with themselves, but not with each other, on the order of the activations.
  const Compilation compilation =
      compile(written("0F0 0F1 0B0 0B1\n1F1 1F0 1B0 1B1\n"), grouped_world,
              {steps_of({"run", "send a0", "go", "run", "send a1", "receive g0", "go", "run",
                         "receive g1", "go", "run"}),
               steps_of({"receive a1", "go", "run", "receive a0", "go", "run", "run", "send g0",
                         "go", "run", "send g1", "go"})});
  EXPECT_THAT(first_message(compilation), HasSubstr("would be swapped"));
}

}  // namespace
}  // namespace dualpipe
