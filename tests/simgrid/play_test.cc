#include "tests/simgrid/play.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "costs/cost_model.h"
#include "scheduler/compile.h"
#include "scheduler/generate.h"
#include "scheduler/program.h"
#include "scheduler/schedule.h"
#include "scheduler/text.h"
#include "sim/events.h"
#include "sim/network.h"
#include "sim/simulate.h"
#include "tests/support/random_schedule.h"
#include "tests/support/schedules.h"
#include "tests/support/simulated.h"
#include "trace/timeline.h"

namespace dualpipe {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using Mode = NetworkModel::Mode;
using Played = std::vector<std::vector<PlayedSlot>>;

// Where nothing is shared, all times are whole nanoseconds here, and sums of doubles there: far
// less than this apart, and whoever is off by one nanosecond is found.
constexpr double whole = 0.25;

// A shared transfer's end is rounded up to a whole nanosecond here, and not at all there. With ops
// of tens of milliseconds the sum of all roundings is far below a millionth of the step.
double shared_tolerance(const Timeline& timeline) {
  return 1e-6 * static_cast<double>(makespan(timeline).count());
}

// The first slot whose begin or end is more than `tolerance` nanoseconds apart; "" if there is
// none.
std::string difference(const Timeline& ours, const Played& theirs, double tolerance) {
  for (std::size_t rank = 0; rank < ours.ranks.size(); ++rank) {
    for (std::size_t slot = 0; slot < ours.ranks[rank].size(); ++slot) {
      const Span& span = ours.ranks[rank][slot];
      const PlayedSlot& played = theirs[rank][slot];
      const double begin = static_cast<double>(span.begin.count());
      const double end = static_cast<double>(span.end.count());
      if (std::abs(begin - played.begin) > tolerance || std::abs(end - played.end) > tolerance) {
        return fmt::format("rank {}, slot {}: {}-{} ns here, {}-{} ns in SimGrid", rank, slot,
                           begin, end, played.begin, played.end);
      }
    }
  }
  return "";
}

// Milliseconds.
double step_time(const Played& played) {
  double last = 0.0;
  for (const std::vector<PlayedSlot>& slots : played) {
    last = std::max(last, slots.back().end);
  }
  return last / 1e6;
}

// F = 1, B = 2 and a latency of 0.1, in milliseconds.
CostModel reference_costs(int ranks) {
  return equal_costs(ranks,
                     {.forward = milliseconds(1),
                      .backward_input = milliseconds(1),
                      .backward_weight = milliseconds(1)},
                     microseconds(100));
}

// A program of 1F1B in SimGrid, which must be what simulate_events() says of it.
double one_f_one_b_step(const Program& program, Mode mode) {
  const CostModel costs = reference_costs(program.pipeline().ranks());
  const Played played = play(program, costs, {.mode = mode});
  EXPECT_EQ(difference(simulate_events(program, costs, {.mode = mode}), played, whole), "");
  return step_time(played);
}

double one_f_one_b_step(const Shape& shape, Mode mode) {
  const Compilation compilation = compile_for(mode, generate(find_family("1f1b"), shape));
  return one_f_one_b_step(compilation.program.value(), mode);
}

constexpr double nanosecond = 1e-6;  // in milliseconds

// The figures of docs/validation.md.
TEST(SimGrid, OneFOneBTakesThePublishedTimes) {
  EXPECT_NEAR(one_f_one_b_step({.ranks = 8, .microbatches = 32}, Mode::eager), 123.8, nanosecond);
  EXPECT_NEAR(one_f_one_b_step({.ranks = 8, .microbatches = 32}, Mode::rendezvous), 124.5,
              nanosecond);
  EXPECT_NEAR(one_f_one_b_step({.ranks = 16, .microbatches = 256}, Mode::eager), 863.8, nanosecond);
}

TEST(SimGrid, OneFOneBTakesThePublishedTimeOn64Ranks) {
  EXPECT_NEAR(one_f_one_b_step({.ranks = 64, .microbatches = 1024}, Mode::eager), 3475.0,
              nanosecond);
}

TEST(SimGrid, OneFOneBTakesThePublishedTimeOn256Ranks) {
  EXPECT_NEAR(one_f_one_b_step({.ranks = 256, .microbatches = 1024}, Mode::eager), 4091.8,
              nanosecond);
}

// What docs/simulation.md says of rendezvous in other ways than compile_for()'s.
TEST(SimGrid, RendezvousHidesItsTransfersOnlyWithAReceivePostedAhead) {
  const Schedule schedule = generate(find_family("1f1b"), {.ranks = 8, .microbatches = 32});
  const auto step = [&](const TransportSemantics& semantics) {
    return one_f_one_b_step(compile_or_throw(schedule, semantics), Mode::rendezvous);
  };
  EXPECT_NEAR(step({.receives_ahead = 1, .send_slots = 1}), 123.8, nanosecond);
  EXPECT_NEAR(step({.receives_ahead = 1, .send_slots = 0}), 124.5, nanosecond);
}

// No two numbers alike, so that no two of them can be swapped unnoticed: the first row of the
// zero-bubble table in nanoseconds, with stages that differ.
CostModel distinct_costs(int stages) {
  CostModel costs;
  for (int stage = 0; stage < stages; ++stage) {
    costs.stages.push_back({.forward = Time(18522 + 7 * stage),
                            .backward_input = Time(18086 + 11 * stage),
                            .backward_weight = Time(9337 + 13 * stage),
                            .overlapped = Time(40123 + 17 * stage)});
  }
  costs.p2p = Time(2601);
  costs.p2p_latency = Time(601);
  costs.p2p_in_node = Time(307);
  costs.p2p_in_node_latency = Time(101);
  costs.ranks_per_node = 2;
  return costs;
}

Schedule example_of(const Family& family) {
  return quickly_generated(
      family, supported_shapes(family, {.ranks = 8, .microbatches = 16, .chunks = 2}).back());
}

TEST(SimGrid, AgreesOnEveryFamilyWhereNothingContends) {
  for (const Family* family : families()) {
    SCOPED_TRACE(family->name);
    const Schedule schedule = example_of(*family);
    const CostModel costs = distinct_costs(schedule.pipeline.stages());
    const Program program = compile_for(Mode::eager, schedule).program.value();
    const Played played = play(program, costs, {.mode = Mode::eager});
    EXPECT_EQ(difference(simulate(program, costs), played, whole), "");
    EXPECT_EQ(difference(simulate_events(program, costs), played, whole), "");
  }
}

// Some families deadlock without a receive posted ahead.
TEST(SimGrid, AgreesOnFamiliesWhereTransfersWaitForBothEnds) {
  const NetworkModel network{.mode = Mode::rendezvous};
  int compared = 0;
  for (const Family* family : families()) {
    SCOPED_TRACE(family->name);
    const Schedule schedule = example_of(*family);
    const CostModel costs = distinct_costs(schedule.pipeline.stages());
    if (const Compilation compilation = compile_for(network.mode, schedule); compilation.program) {
      ++compared;
      EXPECT_EQ(difference(simulate_events(*compilation.program, costs, network),
                           play(*compilation.program, costs, network), whole),
                "");
    }
  }
  EXPECT_GE(compared, 15);
}

// A random schedule, and costs in units: ops of 0 to 100, transfers of 0 to `transfer_max`.
struct Case {
  Schedule schedule;
  CostModel costs;
};

Case random_case(unsigned seed, Time unit, int transfer_max) {
  std::mt19937 random(seed);
  Schedule schedule = random_schedule(random, {.ranks = 5, .stages = 7, .microbatches = 7});
  CostModel costs = random_costs(random, schedule.pipeline.stages());
  for (StageCosts& stage : costs.stages) {
    for (Time* time :
         {&stage.forward, &stage.backward_input, &stage.backward_weight, &stage.overlapped}) {
      *time *= unit.count();
    }
  }
  costs.p2p = draw(random, 0, transfer_max) * unit;
  costs.p2p_latency = costs.p2p * draw(random, 0, 4) / 4;
  costs.p2p_in_node = draw(random, 0, transfer_max) * unit;
  costs.p2p_in_node_latency = costs.p2p_in_node * draw(random, 0, 4) / 4;
  costs.ranks_per_node = draw(random, 1, 3);
  return {.schedule = std::move(schedule), .costs = std::move(costs)};
}

TEST(SimGrid, AgreesOnRandomSchedulesWhereNothingContends) {
  for (unsigned seed = 0; seed < 40; ++seed) {
    const Case one = random_case(seed, Time(1), 100);
    SCOPED_TRACE(fmt::format("seed {}\n{}", seed, to_text(one.schedule)));
    const Program program = compile_for(Mode::eager, one.schedule).program.value();
    const Played played = play(program, one.costs, {.mode = Mode::eager});
    EXPECT_EQ(difference(simulate(program, one.costs), played, whole), "");
    EXPECT_EQ(difference(simulate_events(program, one.costs), played, whole), "");
  }
}

TEST(SimGrid, AgreesOnRandomSchedulesWhereTransfersWaitForBothEnds) {
  int compared = 0;
  for (unsigned seed = 100; seed < 160; ++seed) {
    const Case one = random_case(seed, Time(1), 100);
    SCOPED_TRACE(fmt::format("seed {}\n{}", seed, to_text(one.schedule)));
    const NetworkModel network{.mode = Mode::rendezvous};
    // The orders were drawn for buffers; some deadlock without.
    if (const Compilation compilation = compile_for(network.mode, one.schedule);
        compilation.program) {
      ++compared;
      EXPECT_EQ(difference(simulate_events(*compilation.program, one.costs, network),
                           play(*compilation.program, one.costs, network), whole),
                "");
    }
  }
  EXPECT_GE(compared, 40);
}

// Three activations leave rank 0 at 1, 2 and 3; each takes 6 alone. The first has 4.5 left when the
// third sets out, and a third of the port from then on: it arrives at 3 + 3 * 4.5 = 16.5. The
// second then has 1 left and half of the port: 18.5. Eighteen bytes through one port end at 1 + 18.
TEST(SimGrid, MessagesShareAPortAsByHand) {
  const Schedule schedule = written("0F0 0F1 0F2 0B0 0B1 0B2\n1F0 1F1 1F2 1B0 1B1 1B2\n");
  CostModel costs = equal_costs(2, {.forward = milliseconds(1)}, milliseconds(6));
  costs.stages[1].forward = Time{};
  costs.stages[1].backward_input = milliseconds(50);
  costs.p2p_latency = Time{};
  const NetworkModel network{.sharing = NetworkModel::Sharing::nic};
  const Program program = compile_for(network.mode, schedule).program.value();
  const Played played = play(program, costs, network);
  EXPECT_NEAR(played[1][0].begin, 16.5e6, 1.0);
  EXPECT_NEAR(played[1][1].begin, 18.5e6, 1.0);
  EXPECT_NEAR(played[1][2].begin, 19e6, 1.0);
  EXPECT_EQ(difference(simulate_events(program, costs, network), played, 1.0), "");
}

// Rank 1 sends a gradient up at 55 and an activation down at 60; each takes 10 alone. They share
// its port out, though they go to two ranks: the gradient, with 5 left at 60, arrives at 70, and
// the activation, with 5 left then, at 75.
TEST(SimGrid, MessagesToTwoRanksShareOnePortAsByHand) {
  const Schedule schedule = written("0F0 0F1 0B0 0B1\n1F0 1B0 1F1 1B1\n2F0 2B0 2F1 2B1\n");
  CostModel costs = equal_costs(3, {.forward = milliseconds(10)}, milliseconds(10));
  costs.stages[1].forward = milliseconds(5);
  costs.p2p_latency = Time{};
  const NetworkModel network{.sharing = NetworkModel::Sharing::nic};
  const Program program = compile_for(network.mode, schedule).program.value();
  const Played played = play(program, costs, network);
  EXPECT_NEAR(played[0][2].begin, 70e6, 1.0);
  EXPECT_NEAR(played[2][2].begin, 75e6, 1.0);
  EXPECT_EQ(difference(simulate_events(program, costs, network), played, 1.0), "");
}

TEST(SimGrid, AgreesOnRandomSchedulesWhereMessagesShareLinks) {
  for (const NetworkModel::Sharing sharing :
       {NetworkModel::Sharing::pair, NetworkModel::Sharing::nic}) {
    for (unsigned seed = 200; seed < 230; ++seed) {
      const Case one = random_case(seed, milliseconds(1), 300);
      SCOPED_TRACE(fmt::format("seed {}\n{}", seed, to_text(one.schedule)));
      const NetworkModel network{.sharing = sharing};
      const Program program = compile_for(network.mode, one.schedule).program.value();
      const Timeline timeline = simulate_events(program, one.costs, network);
      EXPECT_EQ(difference(timeline, play(program, one.costs, network), shared_tolerance(timeline)),
                "");
    }
  }
}

}  // namespace
}  // namespace dualpipe
