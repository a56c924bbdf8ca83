#include "runtime/nccl/communicators.h"

#include <algorithm>
#include <cstddef>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/error.h"
#include "runtime/transport.h"
#include "scheduler/compile.h"
#include "scheduler/generate.h"
#include "scheduler/pipeline.h"
#include "scheduler/program.h"
#include "tests/support/refusal.h"
#include "tests/support/schedules.h"

namespace dualpipe {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

Program program_of(const std::string& family, int ranks, const TransportSemantics& semantics) {
  const Shape shape{.ranks = ranks, .microbatches = 4 * ranks};
  return compile_or_throw(generate(find_family(family), shape), semantics);
}

std::vector<std::string> names(const CommunicatorPlan& plan) {
  std::vector<std::string> names;
  for (const Communicator& communicator : plan.communicators()) {
    names.push_back(communicator.name);
  }
  return names;
}

TEST(Communicators, AChannelHasItsOwn) {
  const CommunicatorPlan plan(program_of("1f1b", 3, {}));
  EXPECT_THAT(names(plan), UnorderedElementsAre("activation 0->1", "activation 1->2",
                                                "gradient 1->0", "gradient 2->1"));
  EXPECT_EQ(plan.most_of_a_rank(), 4);  // the middle one's
  const int down = plan.find(0, 1, MessageClass::activation);
  ASSERT_NE(down, CommunicatorPlan::none);
  EXPECT_EQ(plan.communicators()[static_cast<std::size_t>(down)].name, "activation 0->1");
  EXPECT_THAT(plan.communicators()[static_cast<std::size_t>(down)].members, ElementsAre(0, 1));
  EXPECT_EQ(plan.find(1, 0, MessageClass::activation), CommunicatorPlan::none);
  EXPECT_EQ(plan.find(0, 2, MessageClass::activation), CommunicatorPlan::none);
}

TEST(Communicators, TheTopologySaysWhatIsShared) {
  TransportSemantics semantics{
      .topology = Topology::edge, .grouped = true, .receives_ahead = 0, .send_slots = 1};
  EXPECT_THAT(names(CommunicatorPlan(program_of("1f1b", 3, semantics))),
              UnorderedElementsAre("0->1", "1->0", "1->2", "2->1"));
  semantics.topology = Topology::pair;
  EXPECT_THAT(names(CommunicatorPlan(program_of("1f1b", 3, semantics))),
              UnorderedElementsAre("0<->1", "1<->2"));
  semantics.topology = Topology::direction;
  const CommunicatorPlan directions(program_of("1f1b", 3, semantics));
  EXPECT_THAT(names(directions), UnorderedElementsAre("up", "down"));
  EXPECT_THAT(directions.communicators()[0].members, ElementsAre(0, 1, 2));
  semantics.topology = Topology::world;
  EXPECT_THAT(names(CommunicatorPlan(program_of("1f1b", 3, semantics))), ElementsAre("world"));
}

// DualPipe's replicas of a stage are mirror images: ranks 0 and 3, 1 and 2.
TEST(Communicators, ReplicasSumsHaveTheirOwn) {
  const CommunicatorPlan plan(program_of("dualpipe", 4, {}));
  EXPECT_THAT(names(plan), Contains("replicas 0<->3"));
  EXPECT_THAT(names(plan), Contains("replicas 1<->2"));
  EXPECT_EQ(plan.find(0, 3, MessageClass::replica), plan.find(3, 0, MessageClass::replica));
  EXPECT_EQ(plan.find(0, 1, MessageClass::replica), CommunicatorPlan::none);
}

TEST(Communicators, OneRankAloneHasNone) {
  EXPECT_THAT(CommunicatorPlan(program_of("1f1b", 1, {})).communicators(), IsEmpty());
}

// Every rank takes what concerns it in the order of the list. If all take the first that both ends
// have come to, as in a play, nothing is left over; and a chain of ranks needs no more turns than
// an edge colouring has colours: four, for two neighbours with two channels each.
TEST(Communicators, AChainOpensInAsManyRoundsAsARankHasCommunicators) {
  const CommunicatorPlan plan(program_of("1f1b", 16, {}));
  std::map<int, std::vector<std::size_t>> left;  // [rank]: communicators yet to be opened
  for (std::size_t index = 0; index < plan.communicators().size(); ++index) {
    for (const int member : plan.communicators()[index].members) {
      left[member].push_back(index);
    }
  }
  int rounds = 0;
  std::size_t opened = 0;
  for (; opened < plan.communicators().size() && rounds < 100; ++rounds) {
    std::set<std::size_t> now;
    for (std::size_t index = 0; index < plan.communicators().size(); ++index) {
      const std::vector<int>& members = plan.communicators()[index].members;
      if (std::ranges::all_of(members, [&](int member) {
            return !left[member].empty() && left[member].front() == index;
          })) {
        now.insert(index);
      }
    }
    for (const std::size_t index : now) {
      for (const int member : plan.communicators()[index].members) {
        left[member].erase(left[member].begin());
      }
    }
    opened += now.size();
  }
  EXPECT_EQ(opened, 30U);  // of 15 pairs of neighbours, activations down and gradients up
  EXPECT_EQ(rounds, 4);
}

TEST(Communicators, EveryWayOfAMessageIsTriedOnce) {
  const CommunicatorPlan plan(program_of("dualpipe", 4, {}));
  std::set<std::string> tried;
  for (const Route& route : plan.routes()) {
    const Communicator& communicator = plan.communicators()[route.communicator];
    EXPECT_THAT(communicator.members, Contains(route.source));
    EXPECT_THAT(communicator.members, Contains(route.destination));
    tried.insert(communicator.name + ": " + std::to_string(route.source));
  }
  EXPECT_EQ(tried.size(), plan.routes().size());
  // Three neighbours with four channels each, two pairs of replicas both ways.
  EXPECT_EQ(plan.routes().size(), 3U * 4 + 2 * 2);
}

// The largest power of two that fits as often as a rank has communicators: here four.
TEST(Communicators, ShareTheReservedSmsInPowersOfTwo) {
  const CommunicatorPlan plan(program_of("1f1b", 3, {}));
  EXPECT_EQ(ctas_per_communicator(plan, 4), 1);
  EXPECT_EQ(ctas_per_communicator(plan, 15), 2);
  EXPECT_EQ(ctas_per_communicator(plan, 16), 4);
  EXPECT_EQ(ctas_per_communicator(plan, 1000), 16);
  EXPECT_THAT(refusal(ExitCode::infeasible, [&] { return ctas_per_communicator(plan, 3); }),
              HasSubstr("expected --reserved-sms 4 or more"));
}

// Rank 0 has every other stage, and three neighbours: it exchanges activations and gradients with
// each both ways.
Program star() {
  const Placement placement{.ranks = 4, .rank_of_stage = {{0, 1, 0, 2, 0, 3, 0}}};
  return compile_or_throw(
      {.pipeline = {.name = "star", .placement = placement, .direction = {0}},
       .ranks = {slots_of("0F0 2F0 4F0 6F0 6B0 4B0 2B0 0B0"), slots_of("1F0 1B0"),
                 slots_of("3F0 3B0"), slots_of("5F0 5B0")}});
}

// 32 connections for 3 streams of each communicator and 2 that compute: ten communicators at most.
// An inner rank of DualPipe has eight channels and a replica's.
TEST(Communicators, ARankMayHaveAsManyAsTheGpuHasConnectionsFor) {
  EXPECT_EQ(CommunicatorPlan(program_of("dualpipe", 8, {})).most_of_a_rank(), 9);
  EXPECT_NO_THROW(check_connections(CommunicatorPlan(program_of("dualpipe", 8, {}))));
  const CommunicatorPlan many(star());
  EXPECT_EQ(many.most_of_a_rank(), 12);
  EXPECT_THAT(refusal(ExitCode::infeasible,
                      [&] {
                        check_connections(many);
                        return 0;
                      }),
              AllOf(HasSubstr("12 NCCL communicators"), HasSubstr("connections for 10")));
}

TEST(Communicators, GroupsOfAReferenceImplementationAreSmallEnough) {
  EXPECT_NO_THROW(check_group_sizes(
      reference_program(find_family("dualpipe"), {.ranks = 4, .microbatches = 16})));
}

}  // namespace
}  // namespace dualpipe
