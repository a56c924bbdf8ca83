#include "scheduler/play.h"

#include <string_view>

#include <gtest/gtest.h>

#include "scheduler/program.h"
#include "scheduler/program_builder.h"
#include "scheduler/violations.h"
#include "tests/support/schedules.h"

namespace dualpipe {
namespace {

Program built(std::string_view schedule, const TransportSemantics& semantics) {
  Violations violations;
  Program program = ProgramBuilder(written(schedule), semantics).build({}, violations);
  EXPECT_TRUE(violations.empty());
  return program;
}

constexpr TransportSemantics blocking{
    .topology = Topology::channel, .grouped = false, .receives_ahead = 0, .send_slots = 0};

// Each rank sends two outputs before it takes any.
constexpr std::string_view two_each =
    "placement: 0 1 | 1 0\ndirection: 0*2 1*2\n0F0 0F1 1F2 1F3\n0F2 0F3 1F0 1F1\n";

TEST(Play, GoesAsFarAsAnythingCanHappen) {
  const Program program = built(two_each, blocking);
  const Play play(program);
  EXPECT_FALSE(play.complete());
  for (const int rank : {0, 1}) {
    const Play::Operation awaited = play.awaited(rank);
    EXPECT_TRUE(awaited.is_send);
    EXPECT_TRUE(play.is_started(awaited));
    EXPECT_FALSE(play.is_done(awaited));
    EXPECT_EQ(play.rank_of(awaited), rank);
    EXPECT_EQ(play.peer_of(awaited), 1 - rank);
    EXPECT_EQ(play.message_of(awaited), awaited.transfer);
    EXPECT_FALSE(play.is_issued({awaited.transfer, false}));
  }
}

TEST(Play, GoesOnWithMoreBuffering) {
  const Program program = built(two_each, blocking);
  Play play(program);
  EXPECT_TRUE(play.raise_buffering());
  EXPECT_EQ(play.buffering(), 1);
  EXPECT_FALSE(play.complete());
  EXPECT_EQ(play.room_for(play.awaited(0).transfer), play.awaited(0).transfer - 1);
  EXPECT_TRUE(play.raise_buffering());
  EXPECT_EQ(play.buffering(), 2);
  EXPECT_TRUE(play.complete());
}

TEST(Play, BuffersAsMuchFromTheStartAsItsSemanticsSay) {
  TransportSemantics buffered = blocking;
  buffered.buffering = 2;
  const Program program = built(two_each, buffered);
  EXPECT_TRUE(Play(program).complete());
}

TEST(Play, CannotRaiseBufferingWhereNothingIsSent) {
  const Program program = built("0F0 0B0 0F1 0B1\n1F0 1F1 1B0 1B1\n", blocking);
  Play play(program);
  EXPECT_FALSE(play.complete());
  EXPECT_FALSE(play.raise_buffering());
  EXPECT_EQ(play.buffering(), 0);
}

// Three ranks on one communicator: rank 0's second send starts only when the first is done.
TEST(Play, RunsTheGroupsOfACommunicatorOneAfterAnother) {
  const TransportSemantics world{
      .topology = Topology::world, .grouped = false, .receives_ahead = 0, .send_slots = 1};
  const Program program =
      built("placement: 0 1 1 | 0 2 1\ndirection: 0 1\n0F0 0F1\n2F1 1F0 2F0\n1F1\n", world);
  const Play play(program);
  EXPECT_FALSE(play.complete());
  const Play::Operation late{play.awaited(2).transfer, true};
  EXPECT_TRUE(play.is_issued(late));
  EXPECT_FALSE(play.is_started(late));
  EXPECT_EQ(play.queue_of(late).started, 1U);
  EXPECT_EQ(play.queue_of(late).entries.size(), 2U);
}

}  // namespace
}  // namespace dualpipe
