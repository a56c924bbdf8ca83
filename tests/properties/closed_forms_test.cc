// What is known of the families without simulating them, against the simulator, on every small
// shape with random costs.

#include <algorithm>
#include <array>
#include <cstddef>
#include <random>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/cost_model.h"
#include "scheduler/generate.h"
#include "tests/support/schedules.h"
#include "tests/support/simulated.h"
#include "trace/metrics.h"
#include "trace/timeline.h"

namespace dualpipe {
namespace {

using testing::Each;
using testing::Field;

// Any F, I and W, with an overlap between no gain at all (and worse) and all of the shorter half.
StageCosts random_costs(std::mt19937& random) {
  std::uniform_int_distribution<int> some(0, 1000);
  Durations durations{.forward = some(random), .input = some(random), .weight = some(random)};
  const int backward = durations.input + durations.weight;
  const int longer = std::max(durations.forward, backward);
  durations.overlapped =
      std::uniform_int_distribution<int>(longer, durations.forward + backward + 50)(random);
  return stage_costs(durations);
}

// P up to 16, M up to 2P + 12, v up to 4.
std::vector<Shape> shapes_of(const Family& family) {
  std::vector<Shape> shapes =
      supported_shapes(family, {.ranks = 16, .microbatches = 44, .chunks = 4});
  std::erase_if(shapes,
                [](const Shape& shape) { return shape.microbatches > 2 * shape.ranks + 12; });
  return shapes;
}

void expect_known(const Family& family, const Shape& shape, const StageCosts& stage, Time p2p) {
  const ClosedForm known = family.closed_form(shape, stage, p2p);
  const Metrics metrics = measure(simulated(generate(family, shape), stage, p2p));
  SCOPED_TRACE(to_string(family, shape) + ": F " + std::to_string(stage.forward.count()) + ", I " +
               std::to_string(stage.backward_input.count()) + ", W " +
               std::to_string(stage.backward_weight.count()) + ", FB " +
               std::to_string(stage.overlapped.count()) + ", p2p " + std::to_string(p2p.count()));
  EXPECT_TRUE(known.step_time.has_value() || p2p > Time{});
  if (known.step_time) {
    EXPECT_EQ(metrics.step_time, *known.step_time);
  }
  int peak = 0;
  for (const RankMetrics& rank : metrics.ranks) {
    peak = std::max(peak, rank.peak_activations);
  }
  EXPECT_EQ(peak, known.peak_activations);
}

TEST(ClosedForms, WithoutTransfersEqualTheSimulation) {
  std::mt19937 random(20250601);
  for (const Family* family : families()) {
    for (const Shape& shape : shapes_of(*family)) {
      expect_known(*family, shape, random_costs(random), Time{});
    }
  }
}

TEST(ClosedForms, WithTransfersEqualTheSimulationWhereTheyAreKnown) {
  std::mt19937 random(20250602);
  for (const char* name : {"1f1b", "gpipe"}) {
    const Family& family = find_family(name);
    for (const Shape& shape : shapes_of(family)) {
      const StageCosts stage = random_costs(random);
      const Time shorter = std::min(stage.forward, stage.backward());
      const Time beyond = stage.forward + stage.backward();
      for (const Time p2p : {Time(1), shorter / 3, shorter, beyond}) {
        expect_known(family, shape, stage, p2p);
      }
    }
  }
}

TEST(ClosedForms, WithTransfersAreKnownWhereThePapersSaySo) {
  const StageCosts stage = stage_costs({.forward = 10, .input = 10, .weight = 10});
  EXPECT_TRUE(find_family("gpipe")
                  .closed_form({.ranks = 4, .microbatches = 7}, stage, Time(99))
                  .step_time.has_value());
  const Family& one_f_one_b = find_family("1f1b");
  EXPECT_TRUE(one_f_one_b.closed_form({.ranks = 4, .microbatches = 8}, stage, Time(5)).step_time);
  EXPECT_FALSE(one_f_one_b.closed_form({.ranks = 4, .microbatches = 9}, stage, Time(5)).step_time);
}

TEST(ClosedForms, DualPipeKeepsStagesPlusOneAliveOnEveryRank) {
  for (const char* name : {"dualpipe", "dualpipev"}) {
    const Family& family = find_family(name);
    for (const Shape& shape : shapes_of(family)) {
      const Timeline timeline = simulated(generate(family, shape), stage_costs({}));
      EXPECT_THAT(measure(timeline).ranks,
                  Each(Field(&RankMetrics::peak_activations, timeline.pipeline.stages() + 1)))
          << to_string(family, shape);
    }
  }
}

// The DeepSeek-V3 report's bubble, (P/2-1)(FB + B - 3W), for F = I >= W. It is the idle time of the
// two innermost ranks; of all, where overlapping saves nothing.
TEST(PublishedBubble, OfDualPipeIsTheIdleTimeOfTheInnermostRanks) {
  std::mt19937 random(20250603);
  const Family& family = find_family("dualpipe");
  for (const Shape& shape : shapes_of(family)) {
    const int same = std::uniform_int_distribution<int>(1, 500)(random);
    const int weight = std::uniform_int_distribution<int>(0, same)(random);
    const int sum = 2 * same + weight;
    for (const int overlapped :
         {sum, std::uniform_int_distribution<int>(same + weight, sum)(random)}) {
      const StageCosts stage =
          stage_costs({.forward = same, .input = same, .weight = weight, .overlapped = overlapped});
      const Metrics metrics = measure(simulated(generate(family, shape), stage));
      const Time bubble =
          (shape.ranks / 2 - 1) * (stage.overlapped + stage.backward() - 3 * stage.backward_weight);
      EXPECT_EQ(metrics.ranks[static_cast<std::size_t>(shape.ranks / 2)].idle, bubble);
      EXPECT_EQ(metrics.ranks[static_cast<std::size_t>(shape.ranks / 2 - 1)].idle, bubble);
      if (overlapped == sum) {
        EXPECT_THAT(metrics.ranks, Each(Field(&RankMetrics::idle, bubble)));
      }
    }
  }
}

// The picture in the README of deepseek-ai/DualPipe.
TEST(PublishedBubble, OfTheReferencesPictureIsSixOnEveryRank) {
  const Metrics metrics =
      measure(simulated("dualpipe", {.ranks = 8, .microbatches = 20}, stage_costs({})));
  EXPECT_EQ(metrics.step_time, Time(66));
  EXPECT_THAT(metrics.ranks, Each(Field(&RankMetrics::idle, Time(6))));
  EXPECT_THAT(metrics.ranks, Each(Field(&RankMetrics::peak_activations, 9)));
}

// Values of independent simulators, with eager transfers, F = 1, B = 2, c = 0.1.
TEST(ReferenceValues, OfOneFOneBWithTransfers) {
  const StageCosts stage = stage_costs({.forward = 10, .input = 10, .weight = 10});
  struct Known {
    Shape shape;
    int tenths;
  };
  for (const Known& known : {Known{{.ranks = 8, .microbatches = 32}, 1238},
                             Known{{.ranks = 16, .microbatches = 256}, 8638},
                             Known{{.ranks = 64, .microbatches = 1024}, 34750},
                             Known{{.ranks = 256, .microbatches = 1024}, 40918}}) {
    const Timeline timeline = simulated("1f1b", known.shape, stage, Time(1));
    EXPECT_EQ(makespan(timeline), Time(known.tenths)) << known.shape.ranks << " ranks";
  }
}

// Zero Bubble Pipeline Parallelism, ICLR 2024: bubble = 1 - M(F+I+W) / longest rank time. Times in
// microseconds.
TEST(ReferenceValues, OfOneFOneBInTheZeroBubbleTable) {
  struct Row {
    Shape shape;
    Durations durations;
    int p2p;
    double bubble;
  };
  const std::array<Row, 12> rows{{
      {{.ranks = 8, .microbatches = 24}, {18522, 18086, 9337, 45945}, 601, .2431},
      {{.ranks = 8, .microbatches = 32}, {18513, 18086, 9331, 45930}, 626, .1985},
      {{.ranks = 8, .microbatches = 64}, {18546, 18097, 9321, 45964}, 762, .1240},
      {{.ranks = 8, .microbatches = 24}, {29718, 29444, 19927, 79089}, 527, .2347},
      {{.ranks = 8, .microbatches = 32}, {29802, 29428, 19530, 78760}, 577, .1898},
      {{.ranks = 8, .microbatches = 64}, {29935, 29621, 19388, 78944}, 535, .1091},
      {{.ranks = 16, .microbatches = 48}, {11347, 11248, 8132, 30727}, 377, .2552},
      {{.ranks = 16, .microbatches = 64}, {11307, 11254, 8101, 30662}, 379, .2082},
      {{.ranks = 16, .microbatches = 128}, {11325, 11308, 8109, 30742}, 378, .1251},
      {{.ranks = 32, .microbatches = 96}, {10419, 10207, 7715, 28341}, 408, .2646},
      {{.ranks = 32, .microbatches = 128}, {10408, 10204, 7703, 28315}, 408, .2168},
      {{.ranks = 32, .microbatches = 256}, {10402, 10248, 7698, 28348}, 460, .1352},
  }};
  for (const Row& row : rows) {
    const StageCosts stage = stage_costs(row.durations);
    const Metrics metrics = measure(simulated("1f1b", row.shape, stage, Time(row.p2p)));
    const Time work = row.shape.microbatches * (stage.forward + stage.backward());
    const double bubble = 1.0 - static_cast<double>(work.count()) /
                                    static_cast<double>(metrics.longest_rank_time.count());
    EXPECT_NEAR(bubble, row.bubble, 0.00005) << to_string(find_family("1f1b"), row.shape);
  }
}

}  // namespace
}  // namespace dualpipe
