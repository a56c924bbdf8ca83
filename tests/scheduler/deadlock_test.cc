#include "scheduler/deadlock.h"

#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "scheduler/compile.h"
#include "scheduler/program.h"
#include "scheduler/program_builder.h"
#include "scheduler/violations.h"
#include "tests/support/schedules.h"

namespace dualpipe {
namespace {

using testing::AnyOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;
using testing::UnorderedElementsAre;

std::optional<Deadlock> deadlock_of(std::string_view schedule,
                                    const TransportSemantics& semantics) {
  Violations violations;
  const Program program = ProgramBuilder(written(schedule), semantics).build({}, violations);
  EXPECT_TRUE(violations.empty());
  return find_deadlock(program);
}

bool is_live(std::string_view schedule, const TransportSemantics& semantics = {}) {
  return !deadlock_of(schedule, semantics);
}

// Requires that there is one.
Deadlock deadlock_in(std::string_view schedule, const TransportSemantics& semantics = {}) {
  const std::optional<Deadlock> deadlock = deadlock_of(schedule, semantics);
  if (!deadlock) {
    throw std::runtime_error("is live");
  }
  return *deadlock;
}

TEST(FindDeadlock, FindsNoneWhereThereIsNone) {
  EXPECT_TRUE(is_live("0F0 0F1 0B0 0B1\n1F0 1B0 1F1 1B1\n"));
}

TEST(FindDeadlock, NamesTheSlotsThatItsRanksCannotReach) {
  const Deadlock deadlock = deadlock_in("0F0 0B0 0F1 0B1\n1F0 1F1 1B0 1B1\n");
  EXPECT_THAT(deadlock.stuck,
              ElementsAre(RankSlot{.rank = 0, .slot = 1}, RankSlot{.rank = 1, .slot = 1}));
  EXPECT_EQ(deadlock.story,
            "rank 0 waits, before 0B0, to receive 1B0's gradient from rank 1, which waits, before "
            "1F1, to receive 0F1's output from rank 0");
}

// Rank 0 is at its end, but its second send is queued behind the first, which rank 1 does not take
// before it has heard of rank 2, which waits for the second.
TEST(FindDeadlock, ARankCanBeStuckAtItsEnd) {
  const TransportSemantics world{
      .topology = Topology::world, .grouped = false, .receives_ahead = 0, .send_slots = 1};
  const std::string_view forwards =
      "placement: 0 1 1 | 0 2 1\ndirection: 0 1\n0F0 0F1\n2F1 1F0 2F0\n1F1\n";
  const Deadlock deadlock = deadlock_in(forwards, world);
  EXPECT_THAT(deadlock.stuck,
              UnorderedElementsAre(RankSlot{.rank = 0, .slot = -1}, RankSlot{.rank = 1, .slot = 0},
                                   RankSlot{.rank = 2, .slot = 0}));
  EXPECT_EQ(deadlock.story,
            "rank 1 waits, before 2F1, to receive 1F1's output from rank 2, which waits, before "
            "1F1, to receive 0F1's output from rank 0, which cannot send 0F1's output to rank 2: "
            "on that communicator it must first send 0F0's output to rank 1");
  EXPECT_EQ(deadlock.smallest_buffering, 1);
}

// Two ranks send to each other before either receives.
constexpr std::string_view both_send_first =
    "placement: 0 1 | 1 0\ndirection: 0 1\n0F0 1F1 1B1 0B0\n0F1 1F0 1B0 0B1\n";

constexpr TransportSemantics blocking{
    .topology = Topology::channel, .grouped = false, .receives_ahead = 0, .send_slots = 0};
constexpr TransportSemantics pair{
    .topology = Topology::pair, .grouped = false, .receives_ahead = 0, .send_slots = 1};

TEST(FindDeadlock, BlockingSendsToEachOtherNeedTwoLanes) {
  const Deadlock deadlock = deadlock_in(both_send_first, blocking);
  EXPECT_THAT(deadlock.cycle,
              ElementsAre("rank 0 waits, before 1F1, to send 0F0's output to rank 1",
                          "rank 1 waits, before 1F0, to send 0F1's output to rank "
                          "0"));
  EXPECT_EQ(deadlock.story,
            "rank 0 waits, before 1F1, to send 0F0's output to rank 1, which waits, before 1F0, to "
            "send 0F1's output to rank 0");
  EXPECT_TRUE(is_live(both_send_first));
}

// With one slot nobody waits for his send, but on a shared communicator the receive queues behind
// it.
TEST(FindDeadlock, SaysWhatAMessageIsQueuedBehind) {
  const Deadlock deadlock = deadlock_in(both_send_first, pair);
  EXPECT_THAT(deadlock.cycle,
              UnorderedElementsAre("rank 0 cannot receive 0F1's output from rank 1: on that "
                                   "communicator it must first send 0F0's output to rank 1",
                                   "rank 1 cannot receive 0F0's output from rank 0: on that "
                                   "communicator it must first send 0F1's output to rank 0"));
}

// --- buffering ---

TransportSemantics with_buffering(TransportSemantics semantics, int messages) {
  semantics.buffering = messages;
  return semantics;
}

TEST(FindDeadlock, BuffersOfOneMessageLetBothSendFirst) {
  for (const TransportSemantics& semantics : {blocking, pair}) {
    EXPECT_EQ(deadlock_in(both_send_first, semantics).smallest_buffering, 1);
    EXPECT_TRUE(is_live(both_send_first, with_buffering(semantics, 1)));
    EXPECT_TRUE(is_live(both_send_first, with_buffering(semantics, unlimited)));
  }
}

// Both ranks send three microbatches' outputs before they take any: three must fit.
TEST(FindDeadlock, SaysHowManyMessagesABufferMustHold) {
  const std::string_view three_each =
      "placement: 0 1 | 1 0\ndirection: 0*3 1*3\n0F0 0F1 0F2 1F3 1B3 1F4 1B4 1F5 1B5 0B0 0B1 0B2\n"
      "0F3 0F4 0F5 1F0 1B0 1F1 1B1 1F2 1B2 0B3 0B4 0B5\n";
  const Deadlock deadlock = deadlock_in(three_each, blocking);
  EXPECT_EQ(deadlock.smallest_buffering, 3);
  EXPECT_FALSE(is_live(three_each, with_buffering(blocking, 2)));
  EXPECT_TRUE(is_live(three_each, with_buffering(blocking, 3)));
  EXPECT_THAT(deadlock_in(three_each, with_buffering(blocking, 2)).cycle,
              ElementsAre("rank 0 waits, before 1F3, to send 0F2's output to rank 1",
                          "rank 0 has no buffer left to send 0F2's output to rank 1, which has not "
                          "received 0F0's output",
                          "rank 1 waits, before 1F0, to send 0F5's output to rank 0",
                          "rank 1 has no buffer left to send 0F5's output to rank 0, which has not "
                          "received 0F3's output"));
}

TEST(FindDeadlock, NoBufferingHelpsWhoWaitsForWhatIsNeverSent) {
  const std::string_view circle = "0F0 0B0 0F1 0B1\n1F0 1F1 1B0 1B1\n";
  EXPECT_EQ(deadlock_in(circle).smallest_buffering, std::nullopt);
  EXPECT_FALSE(is_live(circle, with_buffering({}, unlimited)));
}

TEST(FindDeadlock, GroupsLetBothGo) {
  TransportSemantics grouped = grouped_world;
  EXPECT_TRUE(is_live(both_send_first, grouped));
  grouped.topology = Topology::pair;
  EXPECT_TRUE(is_live(both_send_first, grouped));
}

// A group with one operation done and one that hangs: the done one is no part of any circle.
TEST(FindDeadlock, IsToldOfGroupsThatAreHalfDone) {
  TransportSemantics grouped = grouped_world;
  grouped.topology = Topology::pair;
  EXPECT_THAT(deadlock_in("0F0 0B0 0F1 0B1\n1F0 1F1 1B0 1B1\n", grouped).cycle,
              ElementsAre("rank 0 waits, before 0B0, to receive 1B0's gradient from rank 1",
                          "rank 1 waits, before 1F1, to receive 0F1's output from rank 0"));
}

// Of two circles the shorter one is told: ranks 3 and 4 here, not 0, 1 and 2.
TEST(FindDeadlock, TellsTheShortestCycle) {
  const std::string_view longer = "0F0 0B0 3F0 3B0\n1F0 1B0\n2F0 2B0\n";
  const Deadlock long_way = deadlock_in("placement: 0 1 2 0\ndirection: 0\n" + std::string(longer));
  EXPECT_THAT(long_way.cycle, SizeIs(3));
  const Deadlock deadlock =
      deadlock_in("placement: 0 1 2 0 | 3 4 4 4\ndirection: 0 1*2\n" + std::string(longer) +
                  "0F1 0B1 0F2 0B2\n1F1 1F2 2F1 3F1 3B1 2B1 1B1 2F2 3F2 3B2 2B2 1B2\n");
  EXPECT_THAT(deadlock.cycle, SizeIs(2));
  for (const std::string& sentence : deadlock.cycle) {
    EXPECT_THAT(sentence, AnyOf(HasSubstr("rank 3"), HasSubstr("rank 4")));
  }
}

}  // namespace
}  // namespace dualpipe
