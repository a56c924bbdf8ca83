// The proof against every interleaving, on small schedules that were good until some of their slots
// were moved, dropped or repeated: on every topology, grouped or not, with and without buffering.

#include <algorithm>
#include <array>
#include <cstddef>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "scheduler/compile.h"
#include "scheduler/generate.h"
#include "scheduler/op.h"
#include "scheduler/program.h"
#include "scheduler/program_builder.h"
#include "scheduler/schedule.h"
#include "scheduler/text.h"
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

// Two slots of a rank change places; or one moves to somewhere else, is dropped or is there twice.
void mutate(std::mt19937& random, Schedule& schedule) {
  std::vector<Slot>& slots =
      schedule.ranks[static_cast<std::size_t>(draw(random, 0, schedule.pipeline.ranks() - 1))];
  if (slots.size() < 2) {
    return;
  }
  const int last = static_cast<int>(slots.size()) - 1;
  const auto one = slots.begin() + draw(random, 0, last);
  const auto other = slots.begin() + draw(random, 0, last);
  const int change = draw(random, 0, 19);
  if (change == 0) {
    slots.erase(one);
  } else if (change == 1) {
    slots.insert(one, *other);
  } else if (change < 11) {
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
  semantics.buffering = draw(random, 0, 1) * draw(random, 1, 3);
  return semantics;
}

struct Tally {
  int live = 0;
  int dead = 0;
  int mended = 0;   // dead, but live with more buffering
  int swapped = 0;  // messages, on lanes that channels share
  int broken = 0;   // ops missing, twice or out of order, or a channel's ends disagree
};

// Whether each op reads only what has been written before it on the same rank.
bool is_ordered(const Schedule& schedule) {
  for (const std::vector<Slot>& slots : schedule.ranks) {
    std::set<Value> written;
    for (const Slot& slot : slots) {
      for (const Op& op : slot) {
        for (const Value& value : reads(op, schedule.pipeline.stages())) {
          const bool here = &schedule.ranks[static_cast<std::size_t>(schedule.pipeline.rank_of(
                                value.stage, value.microbatch))] == &slots;
          if (here && !written.contains(value)) {
            return false;
          }
        }
      }
      for (const Op& op : slot) {
        for (const Value& value : writes(op)) {
          written.insert(value);
        }
      }
    }
  }
  return true;
}

// Whether each op is there as often as it must be - in inference, where there is no backward at
// all, the forwards - and after what it reads.
bool is_whole(const Schedule& schedule) {
  if (!is_ordered(schedule)) {
    return false;
  }
  std::map<Op, int> ops;
  for (const std::vector<Slot>& slots : schedule.ranks) {
    for (const Slot& slot : slots) {
      for (const Op& op : slot) {
        ++ops[op];
      }
    }
  }
  const bool inference = std::all_of(ops.begin(), ops.end(), [](const auto& entry) {
    return entry.first.kind == OpKind::forward;
  });
  for (int stage = 0; stage < schedule.pipeline.stages(); ++stage) {
    for (int microbatch = 0; microbatch < schedule.pipeline.microbatches(); ++microbatch) {
      const auto times = [&](OpKind kind) { return ops[{stage, kind, microbatch}]; };
      const bool halves = times(OpKind::backward_input) == 1 &&
                          times(OpKind::backward_weight) == 1 && times(OpKind::backward) == 0;
      const bool one = times(OpKind::backward) == 1 && times(OpKind::backward_input) == 0 &&
                       times(OpKind::backward_weight) == 0;
      if (times(OpKind::forward) != 1 || (!halves && !one && !inference)) {
        return false;
      }
    }
  }
  return true;
}

bool hangs(const Schedule& schedule, TransportSemantics semantics, int buffering) {
  semantics.buffering = buffering;
  Violations violations;
  const Program program = ProgramBuilder(schedule, semantics).build({}, violations);
  const Interleavings all = all_interleavings(program);
  EXPECT_NE(all.some_finish, all.some_hang) << "the verdict depends on timing";
  return all.some_hang;
}

// The least buffering with which no interleaving hangs, by trying one after the other.
void compare_smallest(const Schedule& schedule, const TransportSemantics& semantics,
                      const std::optional<int>& smallest, Tally& tally) {
  constexpr int enough = 16;  // more than the messages that any of these has on a lane
  int least = semantics.buffering + 1;
  while (least <= enough && hangs(schedule, semantics, least)) {
    ++least;
  }
  EXPECT_EQ(smallest, least <= enough ? std::optional(least) : std::nullopt);
  tally.mended += least <= enough ? 1 : 0;
}

void compare(const Schedule& schedule, const TransportSemantics& semantics, Tally& tally) {
  const Compilation compilation = compile(schedule, semantics);
  EXPECT_EQ(compilation.program.has_value(), compilation.violations.empty());
  const auto has = [&](Violation::Kind kind) {
    return std::any_of(compilation.violations.begin(), compilation.violations.end(),
                       [&](const Violation& violation) { return violation.kind == kind; });
  };
  Violations violations;
  if (!is_whole(schedule)) {
    EXPECT_FALSE(compilation.violations.empty());
    EXPECT_FALSE(has(Violation::Kind::message) || has(Violation::Kind::deadlock));
    ++tally.broken;
    return;
  }
  const Program program = ProgramBuilder(schedule, semantics).build({}, violations);
  if (!violations.empty()) {
    EXPECT_TRUE(has(Violation::Kind::message));
    ++tally.broken;
    return;
  }
  const Interleavings all = all_interleavings(program);
  ASSERT_NE(all.some_finish, all.some_hang) << "the verdict depends on timing";
  EXPECT_EQ(has(Violation::Kind::deadlock), all.some_hang);
  EXPECT_EQ(compilation.cycle.empty(), all.some_finish);
  EXPECT_EQ(compilation.stuck.empty(), all.some_finish);
  EXPECT_EQ(compilation.program.has_value(), all.some_finish && !has(Violation::Kind::message));
  tally.swapped += has(Violation::Kind::message) ? 1 : 0;
  if (all.some_hang) {
    compare_smallest(schedule, semantics, compilation.smallest_buffering, tally);
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
      SCOPED_TRACE("topology " + std::to_string(static_cast<int>(topology)) + ", buffering " +
                   std::to_string(semantics.buffering) + ", seed " + std::to_string(seed) + "\n" +
                   to_text(schedule));
      compare(schedule, semantics, tally);
    }
    const bool shared = topology != Topology::channel;
    EXPECT_GT(tally.live, 100) << "topology " << static_cast<int>(topology);
    EXPECT_GT(tally.dead, 50) << "topology " << static_cast<int>(topology);
    EXPECT_GT(tally.broken, 100) << "topology " << static_cast<int>(topology);
    EXPECT_GT(tally.mended, shared ? 20 : 0) << "topology " << static_cast<int>(topology);
    EXPECT_GT(tally.swapped, shared ? 10 : -1) << "topology " << static_cast<int>(topology);
  }
}

}  // namespace
}  // namespace dualpipe
