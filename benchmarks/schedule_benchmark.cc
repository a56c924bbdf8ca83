// How long it takes to generate, prove and simulate a large schedule, beside a naive pass.
// benchmarks/README.md says how to run this and what was measured.

#include <cstddef>
#include <cstdint>
#include <utility>

#include <benchmark/benchmark.h>

#include "benchmarks/naive_pass.h"
#include "costs/check.h"
#include "costs/cost_model.h"
#include "scheduler/compile.h"
#include "scheduler/generate.h"
#include "sim/simulate.h"
#include "trace/metrics.h"

namespace dualpipe {
namespace {

constexpr Shape shape{.ranks = 256, .microbatches = 1024, .chunks = 1};

Schedule make(const char* family) {
  return generate(find_family(family), shape);
}

CostModel costs_of(const Schedule& schedule) {
  return resolve_costs({}, schedule.pipeline.ranks(), schedule.pipeline.stages());
}

// Ops per second, a pair counted as two.
void report_ops(benchmark::State& state) {
  const std::int64_t ops = std::int64_t{2} * shape.ranks * shape.microbatches;
  state.SetItemsProcessed(state.iterations() * ops);
}

void generate_schedule(benchmark::State& state, const char* family) {
  for (auto _ : state) {
    benchmark::DoNotOptimize(make(family));
  }
  report_ops(state);
}

void run_naive(benchmark::State& state, const char* family,
               Time (*pass)(const Schedule&, const CostModel&)) {
  const Schedule schedule = make(family);
  const CostModel costs = costs_of(schedule);
  for (auto _ : state) {
    benchmark::DoNotOptimize(pass(schedule, costs));
  }
  report_ops(state);
}

void naive_topological(benchmark::State& state, const char* family) {
  run_naive(state, family, naive_topological_pass);
}

void naive_sweeping(benchmark::State& state, const char* family) {
  run_naive(state, family, naive_sweep);
}

void compile_schedule(benchmark::State& state, const char* family) {
  const Schedule schedule = make(family);
  for (auto _ : state) {
    state.PauseTiming();
    Schedule copy = schedule;
    state.ResumeTiming();
    benchmark::DoNotOptimize(compile(std::move(copy)));
  }
  report_ops(state);
}

void simulate_program(benchmark::State& state, const char* family) {
  const Program program = compile_or_throw(make(family));
  const CostModel costs = costs_of(program.schedule());
  const Time step_time = measure(simulate(program, costs)).step_time;
  CHECK(step_time == naive_topological_pass(program.schedule(), costs));
  CHECK(step_time == naive_sweep(program.schedule(), costs));
  for (auto _ : state) {
    benchmark::DoNotOptimize(simulate(program, costs, {.transfers = false}));
  }
  report_ops(state);
}

BENCHMARK_CAPTURE(naive_topological, 1f1b, "1f1b")->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(naive_sweeping, 1f1b, "1f1b")->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(generate_schedule, 1f1b, "1f1b")->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(compile_schedule, 1f1b, "1f1b")->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(simulate_program, 1f1b, "1f1b")->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(naive_topological, dualpipe, "dualpipe")->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(naive_sweeping, dualpipe, "dualpipe")->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(generate_schedule, dualpipe, "dualpipe")->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(compile_schedule, dualpipe, "dualpipe")->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(simulate_program, dualpipe, "dualpipe")->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace dualpipe
