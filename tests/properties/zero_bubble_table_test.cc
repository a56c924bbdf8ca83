// The table of Zero Bubble Pipeline Parallelism (Qi et al., ICLR 2024): bubble = 1 - M(F+I+W) /
// longest rank time, to the four digits that are published. Times in microseconds.

#include <array>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "costs/cost_model.h"
#include "scheduler/compile.h"
#include "scheduler/generate.h"
#include "scheduler/schedule.h"
#include "sim/simulate.h"
#include "tests/support/schedules.h"
#include "tests/support/simulated.h"
#include "trace/metrics.h"

namespace dualpipe {
namespace {

struct Row {
  Shape shape;
  Durations durations;
  int p2p = 0;
  double one_f_one_b = 0.0;
  double zb_h1 = 0.0;
  double zb_h2 = 0.0;
  double zb_1p = 0.0;
  double zb_2p = 0.0;
};

// How gtest prints a row.
std::ostream& operator<<(std::ostream& out, const Row& row) {
  return out << row.shape.ranks << "x" << row.shape.microbatches;
}

constexpr std::array<Row, 12> table{{
    {{8, 24}, {18522, 18086, 9337, 45945}, 601, .2431, .1585, .1083, .1585, .0433},
    {{8, 32}, {18513, 18086, 9331, 45930}, 626, .1985, .1242, .0837, .1242, .0039},
    {{8, 64}, {18546, 18097, 9321, 45964}, 762, .1240, .0674, .0444, .0674, .0026},
    {{8, 24}, {29718, 29444, 19927, 79089}, 527, .2347, .1323, .0698, .1323, .0029},
    {{8, 32}, {29802, 29428, 19530, 78760}, 577, .1898, .1045, .0559, .1045, .0022},
    {{8, 64}, {29935, 29621, 19388, 78944}, 535, .1091, .0554, .0294, .0554, .0010},
    {{16, 48}, {11347, 11248, 8132, 30727}, 377, .2552, .1397, .0672, .1397, .0066},
    {{16, 64}, {11307, 11254, 8101, 30662}, 379, .2082, .1088, .0516, .1088, .0054},
    {{16, 128}, {11325, 11308, 8109, 30742}, 378, .1251, .0576, .0266, .0576, .0028},
    {{32, 96}, {10419, 10207, 7715, 28341}, 408, .2646, .1421, .0641, .1421, .0038},
    {{32, 128}, {10408, 10204, 7703, 28315}, 408, .2168, .1106, .0490, .1106, .0029},
    {{32, 256}, {10402, 10248, 7698, 28348}, 460, .1352, .0594, .0257, .0594, .0018},
}};

constexpr double last_digit = 0.00005;

double bubble_of(std::string_view family, const Row& row) {
  const StageCosts stage = stage_costs(row.durations);
  const CostModel costs = equal_costs(row.shape.ranks, stage, Time(row.p2p));
  const Schedule schedule =
      generate(find_family(family), row.shape,
               {.costs = costs,
                .memory = std::nullopt,  // A step of the largest row has 24 thousand ops.
                .effort = row.shape.ranks < 32 ? 3'000'000 : 8'000'000});
  const Metrics metrics =
      measure(simulate(compile_or_throw(schedule, eager), costs, {.transfers = false}));
  const Time work = row.shape.microbatches * (stage.forward + stage.backward());
  return 1.0 -
         static_cast<double>(work.count()) / static_cast<double>(metrics.longest_rank_time.count());
}

class ZeroBubbleTable : public testing::TestWithParam<Row> {};

TEST_P(ZeroBubbleTable, HoldsOfTheOrdersThatDoNotLookAtCosts) {
  EXPECT_NEAR(bubble_of("1f1b", GetParam()), GetParam().one_f_one_b, last_digit);
  EXPECT_NEAR(bubble_of("zb-h1", GetParam()), GetParam().zb_h1, last_digit);
  EXPECT_NEAR(bubble_of("zb-h2", GetParam()), GetParam().zb_h2, last_digit);
}

// At P activations the table's bubble is the least there is.
TEST_P(ZeroBubbleTable, HoldsOfZb1p) {
  EXPECT_NEAR(bubble_of("zb-1p", GetParam()), GetParam().zb_1p, last_digit);
}

TEST_P(ZeroBubbleTable, IsReachedOrBeatenByZb2p) {
  EXPECT_LE(bubble_of("zb-2p", GetParam()), GetParam().zb_2p + last_digit);
}

std::string instance_name(const testing::TestParamInfo<Row>& info) {
  return std::to_string(info.index + 1) + "_of_" + std::to_string(info.param.shape.ranks) +
         "_ranks_" + std::to_string(info.param.shape.microbatches) + "_microbatches";
}

INSTANTIATE_TEST_SUITE_P(Rows, ZeroBubbleTable, testing::ValuesIn(table), instance_name);

}  // namespace
}  // namespace dualpipe
