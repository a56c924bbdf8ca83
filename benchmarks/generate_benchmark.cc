// How long every family takes to make a schedule, beside one naive timing of what it made: for the
// cost-aware families, a measure of how often they can look. benchmarks/README.md has what was
// measured, and the published times of the reference heuristics.

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "benchmarks/naive_pass.h"
#include "costs/cost_model.h"
#include "scheduler/generate.h"

namespace dualpipe {
namespace {

// F : I : W = 18.5 : 18.1 : 9.3 for a rank's share, as in the tables of the zero-bubble papers.
Target target_of(const Family& family, const Shape& shape) {
  const int stages = family.placement(shape).stages();
  CostConfig costs;
  costs.forward = 18.522;
  costs.backward_input = 18.086;
  costs.backward_weight = 9.337;
  costs.p2p = 0.601;
  return {.costs = resolve_costs(costs, shape.ranks, stages), .memory = std::nullopt};
}

void generate_family(benchmark::State& state, const Family* family, const Shape& shape) {
  const Target target = target_of(*family, shape);
  for (auto _ : state) {
    benchmark::DoNotOptimize(generate(*family, shape, target));
  }
}

void time_naively(benchmark::State& state, const Family* family, const Shape& shape) {
  const Target target = target_of(*family, shape);
  const Schedule schedule = generate(*family, shape, target);
  for (auto _ : state) {
    benchmark::DoNotOptimize(naive_sweep(schedule, target.costs));
  }
}

[[maybe_unused]] const bool registered = [] {
  for (const Shape& shape : {Shape{.ranks = 16, .microbatches = 64, .chunks = 2},
                             Shape{.ranks = 32, .microbatches = 256, .chunks = 2},
                             Shape{.ranks = 64, .microbatches = 512, .chunks = 2}}) {
    for (const Family* family : families()) {
      const std::string of = std::string(family->name) + "/" + std::to_string(shape.ranks) + "x" +
                             std::to_string(shape.microbatches);
      benchmark::RegisterBenchmark(("generate/" + of).c_str(), generate_family, family, shape)
          ->Unit(benchmark::kMillisecond);
      benchmark::RegisterBenchmark(("naive_timing/" + of).c_str(), time_naively, family, shape)
          ->Unit(benchmark::kMillisecond);
    }
  }
  return true;
}();

}  // namespace
}  // namespace dualpipe
