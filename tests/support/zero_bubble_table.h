// The table of Zero Bubble Pipeline Parallelism (Qi et al., ICLR 2024): profiled costs of twelve
// runs, and the bubble of five schedules with each.

#pragma once

#include <array>
#include <ostream>
#include <string_view>

#include "scheduler/generate.h"
#include "tests/support/simulated.h"

namespace dualpipe {

// Times in microseconds; a bubble is 1 - M(F+I+W) / longest rank time.
struct ZeroBubbleRow {
  Shape shape;
  Durations durations;
  int p2p = 0;
  double one_f_one_b = 0.0;
  double zb_h1 = 0.0;
  double zb_h2 = 0.0;
  double zb_1p = 0.0;
  double zb_2p = 0.0;
};

// How gtest prints a row: "8x24".
std::ostream& operator<<(std::ostream& out, const ZeroBubbleRow& row);

inline constexpr std::array<ZeroBubbleRow, 12> zero_bubble_table{{
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

// What is simulated of a family with the row's costs. Where the family is arranged for them, with
// as much effort as it takes to find what was published, or better.
[[nodiscard]] double longest_rank_bubble(const ZeroBubbleRow& row, std::string_view family);

}  // namespace dualpipe
