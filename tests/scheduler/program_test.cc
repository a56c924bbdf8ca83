#include "scheduler/program.h"

#include <cstddef>
#include <cstdint>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "scheduler/compile.h"
#include "scheduler/op.h"
#include "tests/support/schedules.h"

namespace dualpipe {
namespace {

using testing::ElementsAre;

TEST(ChannelText, SaysKindAndRanks) {
  EXPECT_EQ(to_string(Channel{.source = 1, .destination = 2, .kind = ValueKind::activation}),
            "activation 1->2");
  EXPECT_EQ(to_string(Channel{.source = 2, .destination = 1, .kind = ValueKind::input_gradient}),
            "gradient 2->1");
}

TEST(Program, HasOneChannelPerSourceDestinationAndKind) {
  const Program program = compile_or_throw(
      written("placement: 0 1 | 1 0\ndirection: 0 1\n0F0 1F1 1B1 0B0\n0F1 1F0 1B0 0B1\n"));
  EXPECT_THAT(
      program.channels(),
      ElementsAre(Channel{0, 1, ValueKind::activation}, Channel{0, 1, ValueKind::input_gradient},
                  Channel{1, 0, ValueKind::activation}, Channel{1, 0, ValueKind::input_gradient}));
}

// A direction that no microbatch takes has channels without messages.
TEST(Program, UnusedDirectionsSendNothing) {
  const Program program = compile_or_throw(
      written("placement: 0 1 | 1 0\ndirection: 0*2\n0F0 0F1 0B0 0B1\n1F0 1B0 1F1 1B1\n"));
  EXPECT_EQ(program.messages().size(), 4U);
  for (std::size_t index = 0; index < program.messages().size(); ++index) {
    const Message& message = program.message(static_cast<std::int32_t>(index));
    EXPECT_EQ(program.channel_of(message).kind, message.value.kind);
    EXPECT_EQ(message.sequence, static_cast<std::int32_t>(index % 2));
  }
}

TEST(Program, BuffersAreTheOneInUseAndThoseAhead) {
  const Program program =
      compile_or_throw(written("0F0 0B0\n1F0 1B0\n"), {.receives_ahead = 3, .send_slots = 2});
  EXPECT_EQ(program.receive_buffers(), 4);
  EXPECT_EQ(program.send_buffers(), 2);
  EXPECT_EQ(compile_or_throw(written("0F0 0B0\n"), blocking_world).send_buffers(), 1);
}

}  // namespace
}  // namespace dualpipe
