#include "scheduler/deadlock.h"

#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

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

TEST(FindDeadlock, NamesARankAndTheSlotItCannotReach) {
  const Deadlock deadlock = deadlock_in("0F0 0B0 0F1 0B1\n1F0 1F1 1B0 1B1\n");
  EXPECT_EQ(deadlock.rank, 0);
  EXPECT_EQ(deadlock.slot, 1);
  EXPECT_THAT(deadlock.cycle, SizeIs(4));
}

// Two ranks send to each other before either receives.
constexpr std::string_view both_send_first =
    "placement: 0 1 | 1 0\ndirection: 0 1\n0F0 1F1 1B1 0B0\n0F1 1F0 1B0 0B1\n";

TEST(FindDeadlock, BlockingSendsToEachOtherNeedTwoLanes) {
  const TransportSemantics blocking{
      .topology = Topology::channel, .grouped = false, .receives_ahead = 0, .send_slots = 0};
  const Deadlock deadlock = deadlock_in(both_send_first, blocking);
  EXPECT_THAT(
      deadlock.cycle,
      ElementsAre("rank 0 waits, before 1F1, to send the activation of stage 0, microbatch 0 to "
                  "rank 1",
                  "rank 1 has not come to receive the activation of stage 0, microbatch 0",
                  "rank 1 waits, before 1F0, to send the activation of stage 0, microbatch 1 to "
                  "rank 0",
                  "rank 0 has not come to receive the activation of stage 0, microbatch 1"));
  EXPECT_TRUE(is_live(both_send_first));
}

// With one slot nobody waits for his send, but on a shared communicator the receive queues behind
// it.
TEST(FindDeadlock, SaysWhatAMessageIsQueuedBehind) {
  const TransportSemantics pair{
      .topology = Topology::pair, .grouped = false, .receives_ahead = 0, .send_slots = 1};
  const Deadlock deadlock = deadlock_in(both_send_first, pair);
  EXPECT_THAT(deadlock.cycle,
              ElementsAre("on its communicator, the activation of stage 0, microbatch 0 is queued "
                          "behind the activation of stage 0, microbatch 1",
                          "on its communicator, the activation of stage 0, microbatch 1 is queued "
                          "behind the activation of stage 0, microbatch 0"));
  EXPECT_THAT(deadlock.rank, AnyOf(0, 1));
}

TEST(FindDeadlock, GroupsLetBothGo) {
  TransportSemantics grouped = grouped_world;
  EXPECT_TRUE(is_live(both_send_first, grouped));
  grouped.topology = Topology::pair;
  EXPECT_TRUE(is_live(both_send_first, grouped));
}

// Of two circles the shorter one is told: ranks 3 and 4 here, not 0, 1 and 2.
TEST(FindDeadlock, TellsTheShortestCycle) {
  const std::string_view longer = "0F0 0B0 3F0 3B0\n1F0 1B0\n2F0 2B0\n";
  const Deadlock long_way = deadlock_in("placement: 0 1 2 0\ndirection: 0\n" + std::string(longer));
  EXPECT_THAT(long_way.cycle, SizeIs(6));
  const Deadlock deadlock =
      deadlock_in("placement: 0 1 2 0 | 3 4 4 4\ndirection: 0 1*2\n" + std::string(longer) +
                  "0F1 0B1 0F2 0B2\n1F1 1F2 2F1 3F1 3B1 2B1 1B1 2F2 3F2 3B2 2B2 1B2\n");
  EXPECT_THAT(deadlock.cycle, SizeIs(4));
  for (const std::string& sentence : deadlock.cycle) {
    EXPECT_THAT(sentence, AnyOf(HasSubstr("rank 3"), HasSubstr("rank 4")));
  }
}

}  // namespace
}  // namespace dualpipe
