#include "scheduler/compile.h"

#include <array>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/error.h"
#include "scheduler/communication.h"
#include "scheduler/generate.h"
#include "scheduler/program.h"
#include "scheduler/schedule.h"
#include "tests/support/refusal.h"
#include "tests/support/schedules.h"

namespace dualpipe {
namespace {

using testing::AllOf;
using testing::AnyOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

using Kind = Violation::Kind;

// Rank 0 waits for a gradient before it sends what that gradient comes from, one microbatch on.
constexpr std::string_view deadlocked = "0F0 0B0 0F1 0B1\n1F0 1F1 1B0 1B1\n";

constexpr std::array<Topology, 5> topologies{Topology::channel, Topology::edge, Topology::pair,
                                             Topology::direction, Topology::world};

TEST(Compile, OfAGoodScheduleIsAProgramAndNoViolation) {
  const Schedule schedule = written("0F0 0F1 0B0 0B1\n1F0 1B0 1F1 1B1\n");
  const Compilation compilation = compile(schedule);
  if (!compilation.program) {
    FAIL();
  }
  EXPECT_EQ(compilation.program->schedule(), schedule);
  EXPECT_EQ(compilation.program->semantics(), TransportSemantics{});
  EXPECT_THAT(compilation.violations, IsEmpty());
  EXPECT_THAT(compilation.cycle, IsEmpty());
  EXPECT_EQ(compilation.omitted, 0);
}

TEST(Compile, OfABrokenScheduleIsEveryViolationAndNoProgram) {
  const Compilation compilation = compile(written("0F0 0F0 0B0\n1F0 1B0 1I0 0B1 1B1\n"));
  EXPECT_FALSE(compilation.program);
  EXPECT_GE(compilation.violations.size(), 3U);
}

// --- messages ---

TEST(Compile, NamesTheMessageThatAFifoWouldSwap) {
  const Compilation compilation = compile(written("0F0 0F1 0B1 0B0\n1F1 1F0 1B1 1B0\n"));
  ASSERT_THAT(compilation.violations, SizeIs(1));
  EXPECT_EQ(compilation.violations.front().kind, Kind::message);
  EXPECT_EQ(compilation.violations.front().rank, 1);
  EXPECT_EQ(compilation.violations.front().slot, 0);
  EXPECT_EQ(
      compilation.violations.front().message,
      "message 0 from rank 0 to rank 1 would be swapped: rank 0 sends 0F0's output, but rank 1 "
      "takes it for 0F1's output");
}

TEST(Compile, NamesASwapOnEveryChannel) {
  const Compilation compilation = compile(written("0F0 0F1 0B0 0B1\n1F1 1F0 1B1 1B0\n"));
  EXPECT_THAT(compilation.violations, SizeIs(2));
}

// Activations and gradients between two ranks have a channel each, but share other communicators.
TEST(Compile, TellsActivationsFromGradientsOnlyByTheirChannel) {
  // Rank 1 sends an activation of microbatch 1 before a gradient of 0; rank 0 reads them the other
  // way round.
  const Schedule schedule =
      written("placement: 0 1 | 1 0\ndirection: 0 1\n0F0 0B0 1F1 1B1\n0F1 1F0 1B0 0B1\n");
  EXPECT_TRUE(compile(schedule, {.receives_ahead = 1}).program);
  const Compilation shared =
      compile(schedule, {.topology = Topology::edge, .receives_ahead = 0, .send_slots = 1});
  ASSERT_THAT(shared.violations, Not(IsEmpty()));
  EXPECT_EQ(shared.violations.front().kind, Kind::message);
  EXPECT_THAT(shared.violations.front().message,
              HasSubstr("rank 1 sends 0F1's output, but rank 0 takes it for 1B0's gradient"));
}

// --- deadlock ---

TEST(Compile, SpellsOutTheCycleOfADeadlock) {
  const Compilation compilation = compile(written(deadlocked));
  EXPECT_FALSE(compilation.program);
  EXPECT_THAT(compilation.cycle,
              ElementsAre("rank 0 waits, before 0B0, to receive 1B0's gradient from rank 1",
                          "rank 1 waits, before 1F1, to receive 0F1's output from rank 0"));
  ASSERT_THAT(compilation.violations, SizeIs(1));
  const Violation& violation = compilation.violations.front();
  EXPECT_EQ(violation.kind, Kind::deadlock);
  EXPECT_EQ(violation.rank, 0);
  EXPECT_EQ(violation.slot, 1);
  EXPECT_EQ(violation.message,
            "the ranks wait in a circle: rank 0 waits, before 0B0, to receive 1B0's gradient from "
            "rank 1, which waits, before 1F1, to receive 0F1's output from rank 0");
}

TEST(Compile, AForwardOverlappedWithABackwardThatNeedsItDeadlocks) {
  const Compilation compilation =
      compile(written("(0F0;0B1)OVERLAP_F_B 0F1 0B0\n1F0 1B0 1F1 1B1\n"));
  EXPECT_FALSE(compilation.program);
}

// --- transports ---

TEST(Compile, DualPipeIsLiveWithOneChannelPerKindAndOneSlot) {
  for (const char* name : {"dualpipe", "dualpipev"}) {
    for (int ranks = 2; ranks <= 32; ranks += 2) {
      const Schedule schedule =
          generate(find_family(name), {.ranks = ranks, .microbatches = 2 * ranks + 2});
      for (const int receives_ahead : {0, 1}) {
        EXPECT_THAT(compile(schedule, {.receives_ahead = receives_ahead, .send_slots = 1}).cycle,
                    IsEmpty())
            << name << ", " << ranks << " ranks, " << receives_ahead << " ahead";
      }
    }
  }
}

TEST(Compile, DualPipesOwnGroupsAreLiveOnEveryTopology) {
  for (const char* name : {"dualpipe", "dualpipev"}) {
    const Family& family = find_family(name);
    for (int ranks = 2; ranks <= 32; ranks += 2) {
      const Shape shape{.ranks = ranks, .microbatches = 2 * ranks};
      const Schedule schedule = generate(family, shape);
      const CommunicationOrder order = family.reference_communication(shape);
      for (const Topology topology : topologies) {
        TransportSemantics semantics = grouped_world;
        semantics.topology = topology;
        const Compilation compilation = compile(schedule, semantics, order);
        EXPECT_THAT(compilation.violations, IsEmpty())
            << name << ", " << ranks << " ranks, topology " << static_cast<int>(topology);
      }
    }
  }
}

// Groups have at most four operations: a pair's two sends and two receives.
TEST(Compile, DualPipesOwnGroupsHaveAtMostFourOperations) {
  for (const char* name : {"dualpipe", "dualpipev"}) {
    const Family& family = find_family(name);
    const Shape shape{.ranks = 8, .microbatches = 20};
    const Program program = reference_program(family, shape);
    for (int rank = 0; rank < shape.ranks; ++rank) {
      int operations = 0;
      for (const Instruction& instruction : program.instructions(rank)) {
        using Step = Instruction::Kind;
        operations += instruction.kind == Step::send || instruction.kind == Step::receive ? 1 : 0;
        EXPECT_LE(operations, 4);
        operations = instruction.kind == Step::end_group ? 0 : operations;
      }
    }
  }
}

// The reference is live only because of its groups: issued one by one, on one communicator, its
// sends and receives block each other or meet the wrong ones.
TEST(Compile, DualPipeWithoutGroupsOnOneCommunicatorIsNotLive) {
  TransportSemantics one_slot = blocking_world;
  one_slot.send_slots = 1;
  for (const char* name : {"dualpipe", "dualpipev"}) {
    for (int ranks = 2; ranks <= 32; ranks += 2) {
      const Schedule schedule =
          generate(find_family(name), {.ranks = ranks, .microbatches = 2 * ranks});
      for (const TransportSemantics& semantics : {blocking_world, one_slot}) {
        const Compilation compilation = compile(schedule, semantics);
        ASSERT_THAT(compilation.violations, Not(IsEmpty())) << name << ", " << ranks << " ranks";
        EXPECT_THAT(compilation.violations.front().kind, AnyOf(Kind::message, Kind::deadlock));
      }
    }
  }
}

// The same order of sends and receives as the reference's, but without its groups.
TEST(Compile, DualPipesReferenceOrderOneByOneDeadlocksForEveryNumberOfRanks) {
  for (const char* name : {"dualpipe", "dualpipev"}) {
    const Family& family = find_family(name);
    for (int ranks = 2; ranks <= 16; ranks += 2) {
      const Shape shape{.ranks = ranks, .microbatches = 2 * ranks};
      const Compilation compilation =
          compile(generate(family, shape), blocking_world, family.reference_communication(shape));
      EXPECT_THAT(compilation.cycle, Not(IsEmpty())) << name << ", " << ranks << " ranks";
      EXPECT_EQ(compilation.violations.back().kind, Kind::deadlock);
    }
  }
}

// A lane that swaps messages may hang besides: both are told.
TEST(Compile, DualPipeOneByOneOnOneCommunicatorDeadlocksForEveryNumberOfRanks) {
  TransportSemantics one_slot = blocking_world;
  one_slot.send_slots = 1;
  for (int ranks = 2; ranks <= 32; ranks += 2) {
    const Schedule schedule =
        generate(find_family("dualpipe"), {.ranks = ranks, .microbatches = 2 * ranks});
    for (const TransportSemantics& semantics : {blocking_world, one_slot}) {
      const Compilation compilation = compile(schedule, semantics);
      EXPECT_THAT(compilation.cycle, Not(IsEmpty())) << ranks << " ranks";
      EXPECT_EQ(compilation.violations.back().kind, Kind::deadlock);
    }
  }
}

// --- buffering ---

// 1F1B on one communicator: the last rank's gradient passes the next activation, one of each.
TEST(Compile, OneFOneBNeedsABufferOfOneMessageWhereBothWaysShareACommunicator) {
  for (const Topology topology : {Topology::pair, Topology::world}) {
    for (int ranks = 2; ranks <= 8; ++ranks) {
      const Schedule schedule =
          generate(find_family("1f1b"), {.ranks = ranks, .microbatches = 2 * ranks});
      TransportSemantics semantics{
          .topology = topology, .grouped = false, .receives_ahead = 0, .send_slots = 1};
      const Compilation compilation = compile(schedule, semantics);
      ASSERT_FALSE(compilation.program) << ranks << " ranks";
      EXPECT_EQ(compilation.smallest_buffering, 1) << ranks << " ranks";
      semantics.buffering = 1;
      EXPECT_TRUE(compile(schedule, semantics).program) << ranks << " ranks";
    }
  }
}

// --- inference ---

TEST(Compile, ForwardsAloneAreAProgramWithoutGradients) {
  const Compilation compilation = compile(written("0F0 0F1\n1F0 1F1\n"));
  ASSERT_TRUE(compilation.program);
  EXPECT_THAT(compilation.program->channels(), SizeIs(1));
  EXPECT_THAT(compilation.program->messages(), SizeIs(2));
}

TEST(Compile, TellsItsWarningsOfGoodAndBadSchedules) {
  EXPECT_THAT(compile(written("0F1 0F0 0B1 0B0\n1F1 1F0 1B1 1B0\n")).warnings,
              ElementsAre(HasSubstr("rank 1 runs 1F0 after 1F1")));
  EXPECT_THAT(compile(written("0F0 0F1 0B1 0B0\n1F1 1F0 1B1 1B0\n")).warnings, SizeIs(1));
}

TEST(Compile, OneRankNeedsNoTransport) {
  for (const TransportSemantics& semantics :
       {grouped_world, blocking_world, TransportSemantics{}}) {
    EXPECT_TRUE(
        compile(generate(find_family("dualpipev"), {.ranks = 1, .microbatches = 4}), semantics)
            .program);
  }
}

TEST(CompileDeathTest, SemanticsMustFitTogether) {
  const Schedule schedule = written("0F0 0B0\n");
  const auto compiled = [&](const TransportSemantics& semantics) {
    static_cast<void>(compile(schedule, semantics));
  };
  EXPECT_DEATH(compiled({.grouped = true}), "CHECK");
  EXPECT_DEATH(compiled({.topology = Topology::edge}), "CHECK");
  EXPECT_DEATH(compiled({.receives_ahead = -1}), "CHECK");
  EXPECT_DEATH(compiled({.buffering = -1}), "CHECK");
  EXPECT_DEATH(static_cast<void>(compile(schedule, {}, CommunicationOrder(1))), "CHECK");
}

// --- for callers that have nothing to do with a broken schedule ---

TEST(CompileOrThrow, SaysWhichScheduleAndWhatIsWrongWithIt) {
  EXPECT_THAT(
      refusal(ExitCode::invalid_schedule, [] { return compile_or_throw(written(deadlocked)); }),
      AllOf(HasSubstr("'test' is not a valid schedule:\n  deadlock: the ranks wait"),
            Not(HasSubstr("more"))));
}

TEST(CompileOrThrow, ListsTheFirstFiveAndCountsTheRest) {
  const std::string message = refusal(ExitCode::invalid_schedule, [] {
    return compile_or_throw(
        written("name: gaps\nplacement: 0\ndirection: 0*500\n0F0 0B0 0F1 0B1 0F2 0B2\n"));
  });
  EXPECT_THAT(message, AllOf(HasSubstr("'gaps' is not"), HasSubstr("\n  missing: 0F3 is missing"),
                             HasSubstr("\n  and 989 more; `dualpipe-sim check` lists them")));
}

TEST(ViolationKind, HasAName) {
  for (const auto& [kind, name] :
       {std::pair{Kind::shape, "shape"}, std::pair{Kind::missing, "missing"},
        std::pair{Kind::duplicate, "duplicate"}, std::pair{Kind::placement, "placement"},
        std::pair{Kind::order, "order"}, std::pair{Kind::message, "message"},
        std::pair{Kind::deadlock, "deadlock"}, std::pair{Kind::memory, "memory"}}) {
    EXPECT_EQ(to_string(kind), name);
  }
}

}  // namespace
}  // namespace dualpipe
