// The deadlock checker's verdict against every interleaving, on small schedules that were good
// until two of their slots changed places.

#include "scheduler/deadlock.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "scheduler/compile.h"
#include "scheduler/generate.h"
#include "scheduler/program.h"
#include "scheduler/program_builder.h"
#include "scheduler/schedule.h"
#include "scheduler/text.h"
#include "scheduler/validate.h"
#include "scheduler/violations.h"
#include "tests/support/brute_force.h"
#include "tests/support/random_schedule.h"

namespace dualpipe {
namespace {

constexpr std::array<Topology, 5> topologies{Topology::channel, Topology::edge, Topology::pair,
                                             Topology::direction, Topology::world};

Schedule family_schedule(const char* family, int ranks, int microbatches) {
  return generate(find_family(family), {.ranks = ranks, .microbatches = microbatches, .chunks = 2});
}

Schedule base_schedule(std::mt19937& random) {
  switch (draw(random, 0, 6)) {
    case 0:
      return family_schedule("1f1b", 2, draw(random, 2, 4));
    case 1:
      return family_schedule("1f1b", 3, 2);
    case 2:
      return family_schedule("gpipe", 2, draw(random, 2, 3));
    case 3:
      return family_schedule("interleaved", 2, 2);
    case 4:
      return family_schedule("dualpipe", 2, 4);
    default:
      return random_schedule(random, {.ranks = 3, .stages = 3, .microbatches = 3});
  }
}

// Two slots of a rank change places, or one moves to somewhere else.
void mutate(std::mt19937& random, Schedule& schedule) {
  std::vector<Slot>& slots =
      schedule.ranks[static_cast<std::size_t>(draw(random, 0, schedule.pipeline.ranks() - 1))];
  if (slots.size() < 2) {
    return;
  }
  const int last = static_cast<int>(slots.size()) - 1;
  const auto one = slots.begin() + draw(random, 0, last);
  const auto other = slots.begin() + draw(random, 0, last);
  if (draw(random, 0, 1) == 0) {
    std::iter_swap(one, other);
  } else if (one < other) {
    std::rotate(one, one + 1, other + 1);
  } else {
    std::rotate(other, one, one + 1);
  }
}

TransportSemantics random_semantics(std::mt19937& random, Topology topology) {
  TransportSemantics semantics{.topology = topology, .grouped = draw(random, 0, 2) == 0};
  const bool may_look_ahead = topology == Topology::channel && !semantics.grouped;
  semantics.receives_ahead = may_look_ahead ? draw(random, 0, 2) : 0;
  semantics.send_slots = semantics.grouped ? 1 : draw(random, 0, 2);
  return semantics;
}

struct Tally {
  int live = 0;
  int dead = 0;
};

// Whether there was anything to compare: a program whose ops and messages are in order.
void compare(const Schedule& schedule, const TransportSemantics& semantics, Tally& tally) {
  Violations violations;
  validate(schedule, violations);
  if (!violations.empty()) {
    return;
  }
  const Program program = ProgramBuilder(schedule, semantics).build({}, violations);
  if (!violations.empty()) {
    return;
  }
  const Interleavings all = all_interleavings(program);
  ASSERT_NE(all.some_finish, all.some_hang) << "the verdict depends on timing";
  EXPECT_EQ(find_deadlock(program).has_value(), all.some_hang);
  const Compilation compilation = compile(schedule, semantics);
  EXPECT_EQ(compilation.program.has_value(), all.some_finish);
  EXPECT_EQ(compilation.cycle.empty(), all.some_finish);
  if (all.some_hang) {
    ASSERT_EQ(compilation.violations.size(), 1U);
    EXPECT_EQ(compilation.violations.front().kind, Violation::Kind::deadlock);
  }
  ++(all.some_hang ? tally.dead : tally.live);
}

TEST(Deadlock, VerdictIsThatOfEveryInterleavingOnEveryTopology) {
  for (const Topology topology : topologies) {
    Tally tally;
    for (unsigned seed = 0; seed < 2500; ++seed) {
      std::mt19937 random(1000 * static_cast<unsigned>(topology) + seed);
      Schedule schedule = base_schedule(random);
      const TransportSemantics semantics = random_semantics(random, topology);
      for (int change = draw(random, 0, 2); change > 0; --change) {
        mutate(random, schedule);
      }
      SCOPED_TRACE("topology " + std::to_string(static_cast<int>(topology)) + ", seed " +
                   std::to_string(seed) + "\n" + to_text(schedule));
      compare(schedule, semantics, tally);
    }
    EXPECT_GT(tally.live, 100) << "topology " << static_cast<int>(topology);
    EXPECT_GT(tally.dead, 100) << "topology " << static_cast<int>(topology);
  }
}

}  // namespace
}  // namespace dualpipe
