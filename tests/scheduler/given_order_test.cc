
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
#include "tests/support/instructions.h"
#include "tests/support/schedules.h"

namespace dualpipe {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

using Step = CommunicationStep::Kind;

constexpr std::string_view tiny = "0F0 0F1 0B0 0B1\n1F0 1B0 1F1 1B1\n";

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
              HasSubstr("0B0 runs before the receive of 1B0's gradient"));
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
              HasSubstr("rank 0 never sends 0F1's output"));
}

TEST(GivenCommunication, MustNotSendAValueBeforeItIsWritten) {
  EXPECT_THAT(first_message(compiled({"send a0", "go", "run", "run", "send a1", "receive g0", "go",
                                      "run", "receive g1", "go", "run"})),
              HasSubstr("sends 0F0's output before it is written"));
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

// --- one by one ---

constexpr TransportSemantics one_by_one{
    .topology = Topology::edge, .grouped = false, .receives_ahead = 0, .send_slots = unlimited};

const std::vector<std::string> second_by_itself{"receive a0", "run", "run", "send g0",
                                                "receive a1", "run", "run", "send g1"};

// A receive is waited for by the slot that reads it, a send at the end.
TEST(GivenCommunication, WithoutGroupsWaitsForReceivesWhereTheyAreReadAndForSendsAtTheEnd) {
  const Program program = program_of(compile(
      written(tiny), one_by_one,
      {steps_of({"run", "send a0", "receive g0", "run", "send a1", "run", "receive g1", "run"}),
       steps_of(second_by_itself)}));
  EXPECT_EQ(instructions_of(program, 0),
            "0F0, send a0, receive g0, 0F1, send a1, await g0, 0B0, receive g1, await g1, 0B1, "
            "sent a0, sent a1");
  EXPECT_EQ(program.send_buffers(), 2);
  EXPECT_EQ(program.receive_buffers(), 1);
}

TEST(GivenCommunication, BlockingCallsAreWaitedForAtOnce) {
  TransportSemantics blocking = one_by_one;
  blocking.send_slots = 0;
  const Program program = program_of(compile(
      written(tiny), blocking,
      {steps_of({"run", "send a0", "run", "receive g0", "send a1", "run", "receive g1", "run"}),
       steps_of(second_by_itself)}));
  EXPECT_EQ(instructions_of(program, 0),
            "0F0, send a0, sent a0, 0F1, receive g0, await g0, send a1, sent a1, 0B0, receive g1, "
            "await g1, 0B1");
}

// Values are kept by name, so any order will do on which both ends agree; a receive that is read
// last keeps its buffer and those of all that came after it.
TEST(GivenCommunication, WithoutGroupsMayCommunicateInAnotherOrderThanItComputes) {
  const Program program = program_of(compile(
      written("0F0 0F1 0B0 0B1\n1F0 1F1 1B0 1B1\n"), one_by_one,
      {steps_of({"run", "run", "send a1", "send a0", "receive g1", "receive g0", "run", "run"}),
       steps_of({"receive a1", "receive a0", "run", "run", "run", "run", "send g1", "send g0"})}));
  EXPECT_EQ(instructions_of(program, 1),
            "receive a1, receive a0, await a0, 1F0, await a1, 1F1, 1B0, 1B1, send g1, send g0, "
            "sent g1, sent g0");
  EXPECT_EQ(program.receive_buffers(), 2);
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
              HasSubstr("rank 1 sends 0F1's output in another rank's place"));
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
