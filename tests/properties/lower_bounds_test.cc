// No schedule can be faster than these bounds, so a simulation that is has a bug.

#include <algorithm>
#include <cstddef>
#include <random>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "costs/cost_model.h"
#include "scheduler/compile.h"
#include "scheduler/generate.h"
#include "scheduler/pipeline.h"
#include "scheduler/schedule.h"
#include "scheduler/text.h"
#include "sim/simulate.h"
#include "tests/support/random_schedule.h"
#include "tests/support/schedules.h"
#include "tests/support/simulated.h"
#include "trace/metrics.h"

namespace dualpipe {
namespace {

struct Linear {
  int ranks = 0;
  int microbatches = 0;
  int alive_on_first = 0;  // activations, most at once
};

// Longest rank time on a linear placement with at most k activations alive on rank 0.
Time linear_bound(const Linear& shape, const StageCosts& stage, Time p2p) {
  const int M = shape.microbatches;
  const int k = shape.alive_on_first;
  const Time F = stage.forward;
  const Time I = stage.backward_input;
  const Time W = stage.backward_weight;
  const Time R = (shape.ranks - 1) * (F + I + 2 * p2p);
  const Time head = std::max(Time{}, R - (k - 1) * F);
  const Time tail = std::max(Time{}, R - (k - 1) * (I + W));
  if (M > k) {
    return M * (F + I + W) + head + tail;
  }
  return std::max(M * (F + I + W) + std::max(head, tail), R + M * (F + I) + W);
}

StageCosts some_costs(std::mt19937& random) {
  Durations durations{.forward = draw(random, 1, 100),
                      .input = draw(random, 1, 100),
                      .weight = draw(random, 1, 100)};
  durations.overlapped = durations.forward + durations.input + durations.weight;
  return stage_costs(durations);
}

TEST(LowerBounds, OfLinearPlacementsHold) {
  std::mt19937 random(5);
  for (const char* name : {"1f1b", "gpipe"}) {
    const Family& family = find_family(name);
    for (const Shape& shape : supported_shapes(family, {.ranks = 8, .microbatches = 20})) {
      const StageCosts stage = some_costs(random);
      const Time p2p(draw(random, 0, 50));
      const Metrics metrics = measure(simulated(generate(family, shape), stage, p2p));
      const Linear linear{.ranks = shape.ranks,
                          .microbatches = shape.microbatches,
                          .alive_on_first = metrics.ranks.front().peak_activations};
      EXPECT_GE(metrics.longest_rank_time, linear_bound(linear, stage, p2p))
          << to_string(family, shape);
    }
  }
}

// V placement, F = I = W = 1, k stage activations, more microbatches than fit: 6M + 6P - 3k - 1.
TEST(LowerBounds, OfVPlacementsHold) {
  const Family& family = find_family("dualpipev");
  for (const Shape& shape : supported_shapes(family, {.ranks = 10, .microbatches = 30})) {
    const Metrics metrics = measure(simulated(generate(family, shape), stage_costs({})));
    int alive = 0;
    for (const RankMetrics& rank : metrics.ranks) {
      alive = std::max(alive, rank.peak_activations);
    }
    if (alive == 2 * shape.microbatches) {
      continue;
    }
    EXPECT_GE(metrics.longest_rank_time,
              Time(6 * shape.microbatches + 6 * shape.ranks - 3 * alive - 1))
        << to_string(family, shape);
  }
}

// From the forward of a stage to the end of its weight half: down to the last stage and back.
Time shortest_life(const Pipeline& pipeline, int stage, int microbatch, const CostModel& costs) {
  Time life = costs.stages[static_cast<std::size_t>(stage)].backward_weight;
  for (int at = stage; at < pipeline.stages(); ++at) {
    const StageCosts& one = costs.stages[static_cast<std::size_t>(at)];
    life += one.forward + one.backward_input;
    if (at > stage && pipeline.rank_of(at - 1, microbatch) != pipeline.rank_of(at, microbatch)) {
      life += 2 * costs.p2p;
    }
  }
  return life;
}

// Any placement: k activations at once cannot live longer together than k times the rank's time.
// Whole backwards and pairs live at least as long as their parts apart, where nothing is saved.
TEST(LowerBounds, OfAnyPlacementHold) {
  for (unsigned seed = 0; seed < 300; ++seed) {
    std::mt19937 random(seed);
    const Schedule schedule = random_schedule(random, {.ranks = 4, .stages = 6, .microbatches = 8});
    CostModel costs = random_costs(random, schedule.pipeline.stages());
    for (StageCosts& stage : costs.stages) {
      stage.overlapped = stage.forward + stage.backward();
    }
    const Metrics metrics = measure(
        simulate(compile_or_throw(schedule, {.receives_ahead = 100, .send_slots = 100}), costs));
    std::vector<Time> lives(metrics.ranks.size());
    const Pipeline& pipeline = schedule.pipeline;
    for (int microbatch = 0; microbatch < pipeline.microbatches(); ++microbatch) {
      for (int stage = 0; stage < pipeline.stages(); ++stage) {
        lives[static_cast<std::size_t>(pipeline.rank_of(stage, microbatch))] +=
            shortest_life(pipeline, stage, microbatch, costs);
      }
    }
    for (std::size_t rank = 0; rank < lives.size(); ++rank) {
      const RankMetrics& one = metrics.ranks[rank];
      EXPECT_GE(one.peak_activations * (one.end - one.begin), lives[rank])
          << "seed " << seed << ", rank " << rank << "\n"
          << to_text(schedule);
    }
  }
}

}  // namespace
}  // namespace dualpipe
