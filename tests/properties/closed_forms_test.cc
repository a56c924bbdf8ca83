// What is known of the families without simulating them, against the simulator, on every small
// shape with random costs.

#include <algorithm>
#include <cstddef>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/cost_model.h"
#include "scheduler/compile.h"
#include "scheduler/generate.h"
#include "scheduler/schedule.h"
#include "sim/simulate.h"
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

// Those that the reference implementations of DualPipe and DualPipeV run.
std::vector<Shape> reference_shapes_of(const Family& family) {
  std::vector<Shape> shapes = shapes_of(family);
  std::erase_if(shapes, [&](const Shape& shape) {
    const bool odd = shape.ranks % 2 == 1 || shape.microbatches % 2 == 1;
    return shape.microbatches < 2 * shape.ranks || (family.name == "dualpipe" && odd);
  });
  return shapes;
}

// Whatever the family says it knows of the schedule that it makes for these costs.
void expect_known(const Family& family, const Shape& shape, const StageCosts& stage, Time p2p) {
  const ClosedForm known = family.closed_form(shape, stage, p2p);
  const bool of_time = known.step_time || known.longest_rank_time;
  if (!of_time && (p2p > Time{} || !known.peak_activations)) {
    return;  // The peak is that of the order; once is enough.
  }
  const CostModel costs = equal_costs(family.placement(shape).stages(), stage, p2p);
  const Schedule schedule =
      generate(family, shape, {.costs = costs, .memory = std::nullopt, .effort = little_effort});
  const Metrics metrics = measure(simulate(compile_or_throw(schedule, eager), costs));
  SCOPED_TRACE(to_string(family, shape) + ": F " + std::to_string(stage.forward.count()) + ", I " +
               std::to_string(stage.backward_input.count()) + ", W " +
               std::to_string(stage.backward_weight.count()) + ", FB " +
               std::to_string(stage.overlapped.count()) + ", p2p " + std::to_string(p2p.count()));
  if (known.step_time) {
    EXPECT_EQ(metrics.step_time, *known.step_time);
  }
  if (known.longest_rank_time) {
    EXPECT_EQ(metrics.longest_rank_time, *known.longest_rank_time);
  }
  int peak = 0;
  for (const RankMetrics& rank : metrics.ranks) {
    peak = std::max(peak, rank.peak_activations);
  }
  if (known.peak_activations) {
    EXPECT_EQ(peak, *known.peak_activations);
  }
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
  for (const Family* family : families()) {
    for (const Shape& shape : shapes_of(*family)) {
      const StageCosts stage = random_costs(random);
      const Time shorter = std::min(stage.forward, stage.backward());
      const Time beyond = stage.forward + stage.backward();
      for (const Time p2p : {Time(1), stage.backward_weight / 2, shorter / 3, shorter, beyond}) {
        expect_known(*family, shape, stage, p2p);
      }
    }
  }
}

TEST(ClosedForms, WithoutTransfersAreKnownOfEveryShape) {
  for (const char* name : {"1f1b", "gpipe", "interleaved", "looped-bfs", "zb-h1"}) {
    const Family& family = find_family(name);
    for (const Shape& shape : shapes_of(family)) {
      EXPECT_TRUE(family.closed_form(shape, stage_costs({}), Time{}).step_time)
          << to_string(family, shape);
    }
  }
}

TEST(ClosedForms, WithTransfersAreKnownWhereThePapersSaySo) {
  const StageCosts stage = stage_costs({.forward = 10, .input = 10, .weight = 10});
  EXPECT_TRUE(find_family("gpipe")
                  .closed_form({.ranks = 4, .microbatches = 7}, stage, Time(99))
                  .step_time.has_value());
  const auto time_known = [&](const char* name, const Shape& shape, Time p2p) {
    return find_family(name).closed_form(shape, stage, p2p).step_time.has_value();
  };
  EXPECT_TRUE(time_known("interleaved", {.ranks = 4, .microbatches = 8, .chunks = 2}, Time(5)));
  EXPECT_TRUE(time_known("gis", {.ranks = 4, .microbatches = 8, .chunks = 2}, Time(5)));
  EXPECT_TRUE(time_known("zb-h1", {.ranks = 4, .microbatches = 5}, Time(5)));
  EXPECT_FALSE(time_known("zb-h1", {.ranks = 4, .microbatches = 5}, Time(6)));
  EXPECT_TRUE(time_known("zb-h2", {.ranks = 4, .microbatches = 8}, Time(5)));
  EXPECT_TRUE(time_known("looped-bfs", {.ranks = 4, .microbatches = 3, .chunks = 2}, Time(99)));
  const Family& one_f_one_b = find_family("1f1b");
  EXPECT_TRUE(one_f_one_b.closed_form({.ranks = 4, .microbatches = 8}, stage, Time(5)).step_time);
  EXPECT_FALSE(one_f_one_b.closed_form({.ranks = 4, .microbatches = 9}, stage, Time(5)).step_time);
}

TEST(ClosedForms, DualPipeKeepsStagesPlusOneAliveOnEveryRank) {
  for (const char* name : {"dualpipe", "dualpipev"}) {
    const Family& family = find_family(name);
    for (const Shape& shape : reference_shapes_of(family)) {
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
  for (const Shape& shape : reference_shapes_of(family)) {
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

// Li & Hoefler, SC 2021: the idle share is (P-2)/(2M+P-2) for F = B, and (P-2)/(3M/2+P-2) for
// B = 2F and one block.
TEST(PublishedBubble, OfChimeraIsTwoSlotsLessThanTheRanks) {
  for (int ranks = 2; ranks <= 16; ranks += 2) {
    for (const int blocks : {1, 2, 5}) {
      const Shape shape{.ranks = ranks, .microbatches = blocks * ranks};
      const Metrics metrics = measure(
          simulated("chimera", shape, stage_costs({.forward = 2, .input = 1, .weight = 1})));
      EXPECT_EQ(metrics.step_time, 2 * Time(2 * shape.microbatches + ranks - 2));
      EXPECT_THAT(metrics.ranks, Each(Field(&RankMetrics::idle, 2 * Time(ranks - 2))));
    }
    const Metrics metrics =
        measure(simulated("chimera", {.ranks = ranks, .microbatches = ranks}, stage_costs({})));
    EXPECT_EQ(metrics.step_time, Time(3 * ranks + 2 * (ranks - 2)));
    EXPECT_THAT(metrics.ranks, Each(Field(&RankMetrics::idle, Time(2 * (ranks - 2)))));
  }
}

// What forward doubling is for: with B = 2F, P-2 slots of 2F in all, for any number of blocks. As
// forwards need not wait for the other of their two, a quarter of that is saved.
TEST(PublishedBubble, OfChimeraDoublingDoesNotGrowWithTheBlocks) {
  for (const int blocks : {1, 2, 5}) {
    const Shape shape{.ranks = 8, .microbatches = blocks * 16};
    const Metrics doubled = measure(simulated("chimera-doubling", shape, stage_costs({})));
    EXPECT_THAT(doubled.ranks, Each(Field(&RankMetrics::idle, Time(9))));
    const Metrics direct = measure(simulated("chimera", shape, stage_costs({})));
    EXPECT_THAT(direct.ranks, Each(Field(&RankMetrics::idle, Time(6 * (2 * blocks + 1)))));
  }
}

// Its share of (P-1)/(P+1/2) idle in the long run, for B = 2F: a microbatch of 3F takes (2P+1)F.
TEST(PublishedBubble, OfGemsIsAlmostEverything) {
  for (const int ranks : {1, 2, 5, 8}) {
    const auto step_time = [&](int microbatches) {
      return measure(
                 simulated("gems", {.ranks = ranks, .microbatches = microbatches}, stage_costs({})))
          .step_time;
    };
    EXPECT_EQ(step_time(9) - step_time(8), Time(2 * ranks + 1));
  }
}

// The paper: twice the chunks, half of Chimera's bubble, for the same model.
TEST(PublishedBubble, OfBitPipeIsHalfOfChimeras) {
  for (const int microbatches : {8, 24}) {
    const Shape shape{.ranks = 8, .microbatches = microbatches};
    const Metrics chimera =
        measure(simulated("chimera", shape, stage_costs({.forward = 4, .input = 2, .weight = 2})));
    const Metrics bitpipe =
        measure(simulated("bitpipe", shape, stage_costs({.forward = 2, .input = 1, .weight = 1})));
    EXPECT_EQ(bitpipe.ranks[0].busy, chimera.ranks[0].busy);
    EXPECT_EQ(2 * bitpipe.ranks[0].idle, chimera.ranks[0].idle);
  }
}

// The paper: (P-1)(F+B)/2w for w waves, F = B those of a rank.
TEST(PublishedBubble, OfHanayoShrinksWithTheWaves) {
  for (const int waves : {1, 2, 3}) {
    const Shape shape{.ranks = 4, .microbatches = 12, .chunks = 2 * waves};
    const int each = 12 / waves;  // of a stage, where a rank's forward takes 24
    const Metrics metrics = measure(simulated(
        "hanayo", shape, stage_costs({.forward = each, .input = each / 2, .weight = each / 2})));
    EXPECT_THAT(metrics.ranks, Each(Field(&RankMetrics::idle, Time(3 * (24 + 24) / (2 * waves)))));
  }
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

}  // namespace
}  // namespace dualpipe
