#include "sim/task_graph.h"

#include <random>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/cost_model.h"
#include "scheduler/communication.h"
#include "scheduler/compile.h"
#include "scheduler/generate.h"
#include "scheduler/op.h"
#include "scheduler/program.h"
#include "scheduler/schedule.h"
#include "scheduler/text.h"
#include "sim/durations.h"
#include "sim/simulate.h"
#include "tests/support/longest_path.h"
#include "tests/support/random_schedule.h"
#include "tests/support/schedules.h"
#include "tests/support/simulated.h"
#include "trace/timeline.h"

namespace dualpipe {
namespace {

using testing::ElementsAre;

// When every slot ends, rank after rank.
std::vector<Time> ends_of(const std::vector<std::vector<Span>>& ranks) {
  std::vector<Time> ends;
  for (const std::vector<Span>& spans : ranks) {
    for (const Span& span : spans) {
      ends.push_back(span.end);
    }
  }
  return ends;
}

std::vector<Time> run_of(const Program& program, const StepDurations& durations) {
  const TaskGraph graph(program);
  TaskGraph::Times times = graph.times();
  graph.run(durations, times);
  times.ends.resize(graph.first_slots().back());
  return times.ends;
}

TEST(TaskGraph, OneFOneBByHand) {
  const Program program = compile_or_throw(written("0F0 0F1 0B0 0B1\n1F0 1B0 1F1 1B1\n"));
  const CostModel costs =
      equal_costs(2, stage_costs({.forward = 1, .input = 1, .weight = 1}), Time(1));
  const TaskGraph graph(program);
  TaskGraph::Times times = graph.times();
  graph.run(nominal_durations(program, costs), times);
  EXPECT_THAT(times.ends,
              ElementsAre(Time(1), Time(2), Time(8), Time(11), Time(3), Time(5), Time(6), Time(8)));
  EXPECT_EQ(graph.last_end(times, 0), Time(11));
  EXPECT_EQ(graph.last_end(times, 1), Time(8));
  EXPECT_EQ(graph.makespan(times), Time(11));
}

TEST(TaskGraph, EqualsTheNaiveLongestPathOnRandomSchedules) {
  for (unsigned seed = 0; seed < 300; ++seed) {
    std::mt19937 random(seed);
    const Schedule schedule = random_schedule(random, {.ranks = 5, .stages = 7, .microbatches = 7});
    const CostModel costs = random_costs(random, schedule.pipeline.stages());
    const Program program = compile_or_throw(schedule, eager);
    ASSERT_EQ(run_of(program, nominal_durations(program, costs)),
              ends_of(longest_path(schedule, costs)))
        << "seed " << seed << "\n"
        << to_text(schedule);
  }
}

// Durations of its own for every slot and message; the same Times for one run after another.
TEST(TaskGraph, EqualsSimulateWhateverTheDurations) {
  for (unsigned seed = 0; seed < 100; ++seed) {
    std::mt19937 random(seed);
    const Schedule schedule = random_schedule(random, {.ranks = 5, .stages = 7, .microbatches = 7});
    const CostModel costs = random_costs(random, schedule.pipeline.stages());
    const Program program = compile_or_throw(schedule, eager);
    const TaskGraph graph(program);
    TaskGraph::Times times = graph.times();
    for (int run = 0; run < 5; ++run) {
      StepDurations durations = nominal_durations(program, costs);
      for (std::vector<Time>* of : {&durations.slots, &durations.transfers}) {
        for (Time& duration : *of) {
          duration = Time(draw(random, 0, 30));
        }
      }
      graph.run(durations, times);
      const Timeline timeline = simulate(program, costs, durations);
      ASSERT_EQ(times.ends, ends_of(timeline.ranks)) << "seed " << seed << "\n"
                                                     << to_text(schedule);
      ASSERT_EQ(graph.makespan(times), makespan(timeline));
    }
  }
}

TEST(TaskGraph, EqualsSimulateOnEveryFamily) {
  std::mt19937 random(5);
  for (const Family* family : families()) {
    for (const Shape& shape :
         supported_shapes(*family, {.ranks = 4, .microbatches = 9, .chunks = 3})) {
      const Schedule schedule = quickly_generated(*family, shape);
      const CostModel costs = random_costs(random, schedule.pipeline.stages());
      const Program program = compile_or_throw(schedule, eager);
      ASSERT_EQ(run_of(program, nominal_durations(program, costs)),
                ends_of(simulate(program, costs).ranks))
          << to_string(*family, shape);
    }
  }
}

// A rank that waits for a message and then sends another one, without a slot between, sends late.
TEST(TaskGraph, EqualsSimulateWhereACommunicationOrderWaitsBetweenSlotAndSend) {
  using Kind = CommunicationStep::Kind;
  const CommunicationStep run{.kind = Kind::run, .value = {}};
  const CommunicationStep commit{.kind = Kind::commit, .value = {}};
  const auto activation = [](Kind kind, int microbatch) {
    return CommunicationStep{kind, {ValueKind::activation, 0, microbatch}};
  };
  const auto gradient = [](Kind kind, int microbatch) {
    return CommunicationStep{kind, {ValueKind::input_gradient, 1, microbatch}};
  };
  const Schedule schedule = written("0F0 0F1 0B0 0B1\n1F0 1B0 1F1 1B1\n");
  const CommunicationOrder order{
      {run, activation(Kind::send, 0), commit, run, gradient(Kind::receive, 0), commit,
       activation(Kind::send, 1), commit, run, gradient(Kind::receive, 1), commit, run},
      {activation(Kind::receive, 0), commit, run, run, gradient(Kind::send, 0), commit,
       activation(Kind::receive, 1), commit, run, run, gradient(Kind::send, 1), commit}};
  const Compilation compilation = compile(schedule, grouped_world, order);
  ASSERT_TRUE(compilation.program);
  const CostModel costs =
      equal_costs(2, stage_costs({.forward = 1, .input = 1, .weight = 1}), Time(1));
  // Rank 0 waits until 6 for the gradient of 1B0 (3-5) before it sends 0F1's output: 1F1 is 7-8.
  EXPECT_THAT(
      run_of(*compilation.program, nominal_durations(*compilation.program, costs)),
      ElementsAre(Time(1), Time(2), Time(8), Time(13), Time(3), Time(5), Time(8), Time(10)));
  EXPECT_EQ(run_of(*compilation.program, nominal_durations(*compilation.program, costs)),
            ends_of(simulate(*compilation.program, costs).ranks));
}

TEST(TaskGraph, EqualsSimulateOnReferenceImplementations) {
  std::mt19937 random(6);
  for (const Family* family : families()) {
    if (family->reference_communication == nullptr) {
      continue;
    }
    const Shape shape{.ranks = 4, .microbatches = 12};
    const Program program = reference_program(*family, shape);
    const CostModel costs = random_costs(random, program.pipeline().stages());
    EXPECT_EQ(run_of(program, nominal_durations(program, costs)),
              ends_of(simulate(program, costs).ranks))
        << to_string(*family, shape);
  }
}

TEST(TaskGraphDeathTest, DurationsMustBeOfTheProgram) {
  const Program program = compile_or_throw(written("0F0 0B0\n1F0 1B0\n"));
  const TaskGraph graph(program);
  TaskGraph::Times times = graph.times();
  EXPECT_DEATH(graph.run({}, times), "CHECK");
}

}  // namespace
}  // namespace dualpipe
