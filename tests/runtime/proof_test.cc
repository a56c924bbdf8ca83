// The proof against what really happens: on the transport between threads, which is strict
// rendezvous on a channel per (source, destination, kind), a program hangs exactly where
// find_deadlock() says so. Shared communicators and buffering are not things that transport has;
// those verdicts are compared with every interleaving in properties/deadlock_test.cc.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "costs/error.h"
#include "runtime/executor.h"
#include "runtime/transport.h"
#include "scheduler/communication.h"
#include "scheduler/compile.h"
#include "scheduler/deadlock.h"
#include "scheduler/generate.h"
#include "scheduler/lowered.h"
#include "scheduler/program.h"
#include "scheduler/program_builder.h"
#include "scheduler/schedule.h"
#include "scheduler/text.h"
#include "scheduler/validate.h"
#include "scheduler/violations.h"
#include "tests/support/all_ranks.h"
#include "tests/support/random_schedule.h"
#include "tests/support/schedules.h"
#include "tests/support/toy_stage.h"

namespace dualpipe {
namespace {

// Whether every rank comes to its end; otherwise some rank must have passed its deadline.
bool completes(const Program& program) {
  const ToyModel model{.stages = program.pipeline().stages(),
                       .microbatches = program.pipeline().microbatches(),
                       .before = {}};
  const ExecutorOptions options{.op_timeout = std::chrono::milliseconds(250)};
  const std::vector<RankEnd> ends =
      on_all_ranks(program.pipeline().ranks(), [&](Transport& transport) {
        Executor executor(program, transport, toy_factory(model), options);
        static_cast<void>(executor.run(0));
      });
  const auto ended_with = [&](ExitCode code) {
    return [code](const RankEnd& end) { return end.code == code; };
  };
  const bool all_well = std::all_of(ends.begin(), ends.end(), ended_with(ExitCode::ok));
  EXPECT_TRUE(all_well || std::any_of(ends.begin(), ends.end(), ended_with(ExitCode::timeout)));
  return all_well;
}

// The program that compile() would make if it did not look for deadlock.
Program unproved(Schedule schedule, const TransportSemantics& semantics,
                 const CommunicationOrder& communication = {}) {
  Violations violations;
  Program program = ProgramBuilder(std::move(schedule), semantics).build(communication, violations);
  EXPECT_TRUE(violations.empty());
  return program;
}

bool can_be_built(const Schedule& schedule, const TransportSemantics& semantics) {
  Violations violations;
  validate(schedule, violations);
  if (violations.empty()) {
    static_cast<void>(ProgramBuilder(schedule, semantics).build({}, violations));
  }
  return violations.empty();
}

TEST(Proof, TheTransportHangsExactlyWhereItSaysDeadlock) {
  int live = 0;
  int dead = 0;
  for (unsigned seed = 0; live < 30 || dead < 8; ++seed) {
    ASSERT_LT(seed, 10'000U);
    std::mt19937 random(seed);
    Schedule schedule = random_schedule(random, {.ranks = 3, .stages = 4, .microbatches = 3});
    const TransportSemantics semantics{.receives_ahead = draw(random, 0, 1),
                                       .send_slots = draw(random, 0, 1)};
    std::vector<Slot>& slots = schedule.ranks.front();
    if (slots.size() < 2 || schedule.pipeline.ranks() < 2) {
      continue;
    }
    std::swap(slots[static_cast<std::size_t>(draw(random, 0, static_cast<int>(slots.size()) - 1))],
              slots.back());
    if (!can_be_built(schedule, semantics)) {
      continue;
    }
    const Program program = unproved(schedule, semantics);
    const bool is_live = !find_deadlock(program);
    if ((is_live ? live : dead) >= (is_live ? 30 : 8)) {
      continue;
    }
    SCOPED_TRACE("seed " + std::to_string(seed) + "\n" + to_text(schedule));
    EXPECT_EQ(completes(program), is_live);
    ++(is_live ? live : dead);
  }
}

// DualPipe's own order of sends and receives: fine in its groups, a hang one by one.
TEST(Proof, DualPipesReferenceOrderHangsWithoutItsGroups) {
  const Family& family = find_family("dualpipe");
  const Shape shape{.ranks = 2, .microbatches = 4};
  const CommunicationOrder order = family.reference_communication(shape);
  EXPECT_TRUE(completes(unproved(generate(family, shape), grouped_world, order)));
  TransportSemantics one_by_one = blocking_world;
  one_by_one.topology = Topology::channel;
  const Program program = unproved(generate(family, shape), one_by_one, order);
  EXPECT_TRUE(find_deadlock(program));
  EXPECT_FALSE(completes(program));
}

TEST(Proof, PyTorchsLoweredOrderRuns) {
  const std::string name = "pytorch/InterleavedZeroBubble_pp4_mb8_spr2_comms.csv";
  const Compilation compilation = compile(parse_lowered(golden(name), name), Topology::channel, 0);
  ASSERT_TRUE(compilation.program);
  EXPECT_TRUE(completes(*compilation.program));
}

}  // namespace
}  // namespace dualpipe
