// How fast the engines are: one program timed again and again, event by event, after a swap, under
// thousands of durations. benchmarks/README.md says how to run this and what was measured.

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include <benchmark/benchmark.h>

#include "benchmarks/naive_pass.h"
#include "costs/check.h"
#include "costs/cost_model.h"
#include "scheduler/compile.h"
#include "scheduler/generate.h"
#include "scheduler/program.h"
#include "scheduler/schedule.h"
#include "sim/durations.h"
#include "sim/events.h"
#include "sim/monte_carlo.h"
#include "sim/network.h"
#include "sim/retiming.h"
#include "sim/simulate.h"
#include "sim/task_graph.h"
#include "trace/timeline.h"

namespace dualpipe {
namespace {

constexpr Shape large{.ranks = 256, .microbatches = 1024};
constexpr Shape middle{.ranks = 64, .microbatches = 1024};
constexpr Shape published{.ranks = 16, .microbatches = 120};  // DeepSeek-V3

// F, I and W of 1 ms for a rank's share, and transfers of 0.1 ms, half of it latency.
CostModel costs_of(const Schedule& schedule) {
  CostModel costs = resolve_costs({}, schedule.pipeline.ranks(), schedule.pipeline.stages());
  costs.p2p = Time(100'000);
  costs.p2p_latency = Time(50'000);
  return costs;
}

struct Subject {
  Subject(const char* family, const Shape& shape)
      : schedule(generate(find_family(family), shape)),
        costs(costs_of(schedule)),
        program(compile_or_throw(schedule)),
        durations(nominal_durations(program, costs)) {}

  Schedule schedule;
  CostModel costs;
  Program program;
  StepDurations durations;
};

void report_ops(benchmark::State& state, const Schedule& schedule) {
  std::int64_t ops = 0;
  for (const std::vector<Slot>& slots : schedule.ranks) {
    for (const Slot& slot : slots) {
      ops += slot.is_pair() ? 2 : 1;
    }
  }
  state.SetItemsProcessed(state.iterations() * ops);
  state.counters["ops"] = static_cast<double>(ops);
}

void naive(benchmark::State& state, const char* family, const Shape& shape) {
  const Subject subject(family, shape);
  for (auto _ : state) {
    benchmark::DoNotOptimize(naive_topological_pass(subject.schedule, subject.costs));
  }
  report_ops(state, subject.schedule);
}

void simulate_once(benchmark::State& state, const char* family, const Shape& shape) {
  const Subject subject(family, shape);
  for (auto _ : state) {
    benchmark::DoNotOptimize(simulate(subject.program, subject.costs, {.transfers = false}));
  }
  report_ops(state, subject.schedule);
}

void run_graph(benchmark::State& state, const char* family, const Shape& shape) {
  const Subject subject(family, shape);
  const TaskGraph graph(subject.program);
  TaskGraph::Times times = graph.times();
  for (auto _ : state) {
    graph.run(subject.durations, times);
    benchmark::DoNotOptimize(graph.makespan(times));
  }
  CHECK(graph.makespan(times) == naive_topological_pass(subject.schedule, subject.costs));
  report_ops(state, subject.schedule);
}

// An event is a slot's end or a message's arrival.
void run_events(benchmark::State& state, const char* family, const Shape& shape,
                const NetworkModel& network) {
  const Schedule schedule = generate(find_family(family), shape);
  const CostModel costs = costs_of(schedule);
  const Compilation compilation = compile_for(network.mode, schedule);
  CHECK(compilation.program.has_value());
  const StepDurations durations = nominal_durations(*compilation.program, costs);
  for (auto _ : state) {
    benchmark::DoNotOptimize(simulate_events(*compilation.program, costs, network, durations));
  }
  state.SetItemsProcessed(
      state.iterations() *
      static_cast<std::int64_t>(durations.slots.size() + durations.transfers.size()));
}

// A random swap, and back again.
void swap_and_undo(benchmark::State& state, const char* family, const Shape& shape) {
  const Subject subject(family, shape);
  Retiming retiming(subject.program, subject.durations);
  std::mt19937 random(1);
  for (auto _ : state) {
    const int rank = static_cast<int>(random() % static_cast<unsigned>(shape.ranks));
    const unsigned places = static_cast<unsigned>(retiming.slots(rank)) - 1;
    if (retiming.swap(rank, static_cast<int>(random() % places))) {
      benchmark::DoNotOptimize(retiming.makespan());
      retiming.undo();
    }
  }
}

void sample_steps(benchmark::State& state, const Variation& variation) {
  const Subject subject("dualpipe", published);
  for (auto _ : state) {
    benchmark::DoNotOptimize(
        monte_carlo(subject.program, subject.costs, variation, {.samples = 10'000}));
  }
  state.SetItemsProcessed(state.iterations() * 10'000);
}

void compile_and_simulate(benchmark::State& state) {
  const Schedule schedule = generate(find_family("1f1b"), {.ranks = 1024, .microbatches = 4096});
  const CostModel costs = costs_of(schedule);
  for (auto _ : state) {
    benchmark::DoNotOptimize(simulate(compile_or_throw(schedule), costs, {.transfers = false}));
  }
  report_ops(state, schedule);
}

// Twice as many microbatches: twice as many ops.
void grow(benchmark::State& state) {
  const Shape shape{.ranks = 64, .microbatches = static_cast<int>(state.range(0))};
  simulate_once(state, "dualpipe", shape);
}

const Variation all_kinds{.slot_sigma = 0.05, .transfer_sigma = 0.05, .microbatch_sigma = 0.05};
const Variation slots_alone{.slot_sigma = 0.05};
constexpr NetworkModel rendezvous{.mode = NetworkModel::Mode::rendezvous};
constexpr NetworkModel shared{.sharing = NetworkModel::Sharing::nic};

BENCHMARK_CAPTURE(naive, 1f1b_256x1024, "1f1b", large)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(simulate_once, 1f1b_256x1024, "1f1b", large)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(run_graph, 1f1b_256x1024, "1f1b", large)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(naive, dualpipe_64x1024, "dualpipe", middle)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(simulate_once, dualpipe_64x1024, "dualpipe", middle)
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(run_graph, dualpipe_64x1024, "dualpipe", middle)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(run_events, eager_1f1b_256x1024, "1f1b", large, NetworkModel{})
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(run_events, eager_dualpipe_16x120, "dualpipe", published, NetworkModel{})
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(run_events, eager_dualpipe_64x1024, "dualpipe", middle, NetworkModel{})
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(run_events, rendezvous_1f1b_64x1024, "1f1b", middle, rendezvous)
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(run_events, nic_dualpipe_64x1024, "dualpipe", middle, shared)
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(run_graph, dualpipe_16x120, "dualpipe", published)->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(swap_and_undo, dualpipe_16x120, "dualpipe", published)
    ->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(swap_and_undo, dualpipe_64x1024, "dualpipe", middle)
    ->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(swap_and_undo, zb_h1_64x1024, "zb-h1", middle)->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(sample_steps, slots, slots_alone)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(sample_steps, slots_transfers_microbatches, all_kinds)
    ->Unit(benchmark::kMillisecond);
BENCHMARK(compile_and_simulate)->Unit(benchmark::kMillisecond);
BENCHMARK(grow)->RangeMultiplier(2)->Range(256, 16384)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace dualpipe
