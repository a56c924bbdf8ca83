#include "sim/events.h"

#include <array>
#include <chrono>
#include <cstddef>
#include <optional>
#include <random>
#include <ratio>
#include <vector>

#include <gtest/gtest.h>

#include "costs/cost_model.h"
#include "scheduler/compile.h"
#include "scheduler/generate.h"
#include "scheduler/program.h"
#include "scheduler/schedule.h"
#include "scheduler/text.h"
#include "sim/durations.h"
#include "sim/network.h"
#include "sim/simulate.h"
#include "tests/support/random_schedule.h"
#include "tests/support/schedules.h"
#include "tests/support/simulated.h"
#include "tests/support/tick_by_tick.h"
#include "tests/support/timelines.h"
#include "trace/timeline.h"

namespace dualpipe {
namespace {

using Mode = NetworkModel::Mode;
using Sharing = NetworkModel::Sharing;

constexpr std::array<Sharing, 3> sharings{Sharing::none, Sharing::pair, Sharing::nic};

// F = 1, B = 2 and 0.1 for a transfer, all of it latency, in milliseconds.
double step_time(const Shape& shape, Mode mode) {
  const Schedule schedule = generate(find_family("1f1b"), shape);
  using std::chrono::milliseconds;
  CostModel costs = equal_costs(shape.ranks,
                                {.forward = milliseconds(1),
                                 .backward_input = milliseconds(1),
                                 .backward_weight = milliseconds(1)},
                                std::chrono::microseconds(100));
  costs.p2p_latency = costs.p2p;
  const Compilation compilation = compile_for(mode, schedule);
  EXPECT_TRUE(compilation.program);
  return std::chrono::duration<double, std::milli>(
             makespan(simulate_events(*compilation.program, costs, {.mode = mode})))
      .count();
}

// SimGrid's figures.
TEST(SimulateEvents, OneFOneBTakesThePublishedTimes) {
  EXPECT_DOUBLE_EQ(step_time({.ranks = 8, .microbatches = 32}, Mode::eager), 123.8);
  EXPECT_DOUBLE_EQ(step_time({.ranks = 8, .microbatches = 32}, Mode::rendezvous), 124.5);
  EXPECT_DOUBLE_EQ(step_time({.ranks = 16, .microbatches = 256}, Mode::eager), 863.8);
  EXPECT_DOUBLE_EQ(step_time({.ranks = 64, .microbatches = 1024}, Mode::eager), 3475.0);
}

// Costs whose transfers are latency in one part.
CostModel costs_with_links(std::mt19937& random, int stages, int p2p_max) {
  CostModel costs = random_costs(random, stages);
  costs.p2p = Time(draw(random, 0, p2p_max));
  costs.p2p_latency = Time(draw(random, 0, static_cast<int>(costs.p2p.count())));
  costs.p2p_in_node = Time(draw(random, 0, p2p_max));
  costs.p2p_in_node_latency = Time(draw(random, 0, static_cast<int>(costs.p2p_in_node.count())));
  costs.ranks_per_node = draw(random, 1, 3);
  return costs;
}

TEST(SimulateEvents, EqualsSimulateOnRandomSchedulesWhereNothingContends) {
  for (unsigned seed = 0; seed < 300; ++seed) {
    std::mt19937 random(seed);
    const Schedule schedule = random_schedule(random, {.ranks = 5, .stages = 7, .microbatches = 7});
    const CostModel costs = costs_with_links(random, schedule.pipeline.stages(), 100);
    const Program program = compile_or_throw(schedule, eager);
    ASSERT_EQ(simulate_events(program, costs), simulate(program, costs)) << "seed " << seed << "\n"
                                                                         << to_text(schedule);
    StepDurations durations = nominal_durations(program, costs);
    for (std::vector<Time>* of : {&durations.slots, &durations.transfers}) {
      for (Time& duration : *of) {
        duration = Time(draw(random, 0, 30));
      }
    }
    ASSERT_EQ(simulate_events(program, costs, {}, durations), simulate(program, costs, durations))
        << "seed " << seed << "\n"
        << to_text(schedule);
  }
}

// Latency is not shared, so nothing contends where transfers are nothing else.
TEST(SimulateEvents, EqualsSimulateOnEveryFamilyWhereNothingContends) {
  std::mt19937 random(5);
  for (const Family* family : families()) {
    for (const Shape& shape :
         supported_shapes(*family, {.ranks = 4, .microbatches = 9, .chunks = 3})) {
      const Schedule schedule = quickly_generated(*family, shape);
      CostModel costs = random_costs(random, schedule.pipeline.stages());
      costs.p2p_latency = costs.p2p;
      const Program program = compile_or_throw(schedule, eager);
      const Timeline expected = simulate(program, costs);
      ASSERT_EQ(simulate_events(program, costs), expected) << to_string(*family, shape);
      ASSERT_EQ(simulate_events(program, costs, {.sharing = Sharing::nic}), expected)
          << to_string(*family, shape);
    }
  }
}

// Transfers without latency.
CostModel costs_of_bytes(int stages, const StageCosts& stage, Time transfer) {
  CostModel costs = equal_costs(stages, stage, transfer);
  costs.p2p_latency = Time{};
  costs.p2p_in_node_latency = Time{};
  return costs;
}

// Two activations leave rank 0 at 1 and 2; each takes 4 alone. From 2 to 8 both have half the link:
// 3 of the first are left at 2.
TEST(SimulateEvents, MessagesOfAPairShareItsBandwidth) {
  const Schedule schedule = written("0F0 0F1 0B0 0B1\n1F0 1F1 1B0 1B1\n");
  const Program program = compile_or_throw(schedule, eager);
  const CostModel costs =
      costs_of_bytes(2, stage_costs({.forward = 1, .input = 1, .weight = 9}), Time(4));
  const Timeline timeline = simulate_events(program, costs, {.sharing = Sharing::pair});
  EXPECT_EQ(transfers_text(timeline),
            "activation 0 of 0, 0->1 @1-8; activation 0 of 1, 0->1 @2-9; "
            "gradient 1 of 0, 1->0 @20-24; gradient 1 of 1, 1->0 @30-34");
  EXPECT_EQ(spans_text(timeline, 1), "1F0@8-9 1F1@9-10 1B0@10-20 1B1@20-30");
}

// As above, with 3 of latency first: the bytes of the two overlap as before, 3 later.
TEST(SimulateEvents, LatencyComesFirstAndTakesNoBandwidth) {
  const Schedule schedule = written("0F0 0F1 0B0 0B1\n1F0 1F1 1B0 1B1\n");
  const Program program = compile_or_throw(schedule, eager);
  CostModel costs = equal_costs(2, stage_costs({.forward = 1, .input = 1, .weight = 9}), Time(7));
  costs.p2p_latency = Time(3);
  const Timeline timeline = simulate_events(program, costs, {.sharing = Sharing::pair});
  EXPECT_EQ(spans_text(timeline, 1), "1F0@11-12 1F1@12-13 1B0@13-23 1B1@23-33");
}

// Rank 1 sends a gradient up at 55 and an activation down at 60. Where they share its port out, the
// gradient has 5 of 10 left at 60 and half the port: it is there at 70, and the activation, with 5
// left, at 75.
TEST(SimulateEvents, MessagesToTwoRanksShareOnePortOut) {
  const Schedule schedule = written("0F0 0F1 0B0 0B1\n1F0 1B0 1F1 1B1\n2F0 2B0 2F1 2B1\n");
  const Program program = compile_or_throw(schedule, eager);
  CostModel costs =
      costs_of_bytes(3, stage_costs({.forward = 10, .input = 0, .weight = 0}), Time(10));
  costs.stages[1].forward = Time(5);
  const Timeline alone = simulate_events(program, costs, {.sharing = Sharing::pair});
  EXPECT_EQ(spans_text(alone, 0), "0F0@0-10 0F1@10-20 0B0@65-65 0B1@100-100");
  EXPECT_EQ(spans_text(alone, 1), "1F0@20-25 1B0@55-55 1F1@55-60 1B1@90-90");
  EXPECT_EQ(spans_text(alone, 2), "2F0@35-45 2B0@45-45 2F1@70-80 2B1@80-80");
  const Timeline shared = simulate_events(program, costs, {.sharing = Sharing::nic});
  EXPECT_EQ(spans_text(shared, 0), "0F0@0-10 0F1@10-20 0B0@70-70 0B1@105-105");
  EXPECT_EQ(spans_text(shared, 1), "1F0@20-25 1B0@55-55 1F1@55-60 1B1@95-95");
  EXPECT_EQ(spans_text(shared, 2), "2F0@35-45 2B0@45-45 2F1@75-85 2B1@85-85");
}

// As above, but ranks 0 and 1 are one node: the gradient goes through another port.
TEST(SimulateEvents, AnotherNodeIsReachedThroughAnotherPort) {
  const Schedule schedule = written("0F0 0F1 0B0 0B1\n1F0 1B0 1F1 1B1\n2F0 2B0 2F1 2B1\n");
  const Program program = compile_or_throw(schedule, eager);
  CostModel costs =
      costs_of_bytes(3, stage_costs({.forward = 10, .input = 0, .weight = 0}), Time(10));
  costs.stages[1].forward = Time(5);
  costs.ranks_per_node = 2;
  costs.p2p_in_node = Time(10);
  const Timeline shared = simulate_events(program, costs, {.sharing = Sharing::nic});
  EXPECT_EQ(spans_text(shared, 0), "0F0@0-10 0F1@10-20 0B0@65-65 0B1@100-100");
}

// Rank 0 sends at 10 and may not compute before 13. Both slots end at 23, so the next message goes
// at once; 1B0 and 0B0 wait for what is under way, although all that they read is there.
TEST(SimulateEvents, ABlockingTransferKeepsBothRanksFromComputing) {
  const Schedule schedule = written("0F0 0F1 0B0 0B1\n1F0 1B0 1F1 1B1\n");
  const Program program = compile_or_throw(schedule, eager);
  const CostModel costs =
      equal_costs(2, stage_costs({.forward = 10, .input = 5, .weight = 5}), Time(3));
  const Timeline timeline = simulate_events(program, costs, {.blocking = true});
  EXPECT_EQ(spans_text(timeline, 0), "0F0@0-10 0F1@13-23 0B0@39-49 0B1@62-72");
  EXPECT_EQ(spans_text(timeline, 1), "1F0@13-23 1B0@26-36 1F1@39-49 1B1@49-59");
  EXPECT_EQ(transfers_text(timeline),
            "activation 0 of 0, 0->1 @10-13; activation 0 of 1, 0->1 @23-26; "
            "gradient 1 of 0, 1->0 @36-39; gradient 1 of 1, 1->0 @59-62");
}

// The receiver asks for 0F1's output only when it has sent 1B0's at 5, which nobody waits for yet.
TEST(SimulateEvents, ARendezvousBeginsWhenTheReceiverAsks) {
  const Schedule schedule = written("0F0 0F1 0B0 0B1\n1F0 1B0 1F1 1B1\n");
  const Compilation compilation = compile_for(Mode::rendezvous, schedule);
  const CostModel costs =
      equal_costs(2, stage_costs({.forward = 1, .input = 1, .weight = 1}), Time(1));
  const Timeline timeline =
      simulate_events(*compilation.program, costs, {.mode = Mode::rendezvous});
  EXPECT_EQ(transfers_text(timeline),
            "activation 0 of 0, 0->1 @1-2; activation 0 of 1, 0->1 @5-6; "
            "gradient 1 of 0, 1->0 @5-6; gradient 1 of 1, 1->0 @9-10");
  EXPECT_EQ(spans_text(timeline, 0), "0F0@0-1 0F1@2-3 0B0@6-8 0B1@10-12");
}

TEST(SimulateEvents, AJitteredTransferKeepsTheRatioOfItsParts) {
  const Schedule schedule = written("0F0 0F1 0B0 0B1\n1F0 1F1 1B0 1B1\n");
  const Program program = compile_or_throw(schedule, eager);
  CostModel costs = equal_costs(2, stage_costs({.forward = 1, .input = 1, .weight = 9}), Time(7));
  costs.p2p_latency = Time(3);
  StepDurations durations = nominal_durations(program, costs);
  durations.transfers.assign(durations.transfers.size(), Time(14));
  CostModel slower = costs;
  slower.p2p = Time(14);
  slower.p2p_latency = Time(6);
  const NetworkModel network{.sharing = Sharing::nic};
  EXPECT_EQ(simulate_events(program, costs, network, durations),
            simulate_events(program, slower, network));
}

std::optional<Program> random_program(std::mt19937& random, const Schedule& schedule, Mode mode) {
  if (mode == Mode::eager) {
    return compile_or_throw(schedule, eager);
  }
  const TransportSemantics semantics{.topology = static_cast<Topology>(draw(random, 0, 4)),
                                     .grouped = mode == Mode::grouped,
                                     .receives_ahead = 0,
                                     .send_slots = mode == Mode::grouped ? 1 : draw(random, 1, 3)};
  return compile(schedule, semantics).program;
}

TEST(SimulateEvents, EqualsTheReferenceThatLooksEveryNanosecond) {
  std::array<int, 3> compared{};
  for (unsigned seed = 0; seed < 240; ++seed) {
    std::mt19937 random(seed);
    const Schedule schedule = random_schedule(random, {.ranks = 4, .stages = 5, .microbatches = 4});
    CostModel costs = costs_with_links(random, schedule.pipeline.stages(), 40);
    for (StageCosts& stage : costs.stages) {
      stage = {.forward = Time(draw(random, 0, 9)),
               .backward_input = Time(draw(random, 0, 9)),
               .backward_weight = Time(draw(random, 0, 9)),
               .overlapped = Time(30)};
    }
    for (const Mode mode : {Mode::eager, Mode::rendezvous, Mode::grouped}) {
      const std::optional<Program> program = random_program(random, schedule, mode);
      if (!program) {
        continue;
      }
      const NetworkModel network{.mode = mode,
                                 .sharing = sharings[static_cast<std::size_t>(draw(random, 0, 2))],
                                 .blocking = draw(random, 0, 2) == 0};
      ASSERT_EQ(simulate_events(*program, costs, network), tick_by_tick(*program, costs, network))
          << "seed " << seed << ", mode " << static_cast<int>(mode) << ", sharing "
          << static_cast<int>(network.sharing) << (network.blocking ? ", blocking" : "") << "\n"
          << to_text(schedule);
      ++compared[static_cast<std::size_t>(mode)];
    }
  }
  EXPECT_EQ(compared[0], 240);
  EXPECT_GT(compared[1], 40);
  EXPECT_GT(compared[2], 40);
}

TEST(SimulateEventsDeathTest, TheProgramMustBeCompiledForTheMode) {
  const Program program = compile_or_throw(written("0F0 0B0\n1F0 1B0\n"));
  const CostModel costs = equal_costs(2, stage_costs({}));
  EXPECT_DEATH(static_cast<void>(simulate_events(program, costs, {.mode = Mode::grouped})),
               "CHECK");
}

}  // namespace
}  // namespace dualpipe
