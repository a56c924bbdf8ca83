#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "costs/cost_model.h"
#include "scheduler/generate.h"
#include "tests/support/simulated.h"
#include "tests/validation/figures.h"
#include "tests/validation/sections.h"
#include "trace/metrics.h"

namespace dualpipe {
namespace {

constexpr std::array<Durations, 3> durations{
    {{.forward = 1, .input = 1, .weight = 1, .overlapped = 3},
     {.forward = 58'000, .input = 102'000, .weight = 24'600, .overlapped = 138'800},
     {.forward = 700, .input = 450, .weight = 620, .overlapped = 1'201}}};

// How deep the warm-up is, and how many microbatches both directions or legs have.
struct Extent {
  int depth = 0;
  int microbatches = 0;
};

Extent extent_of(std::string_view family, const Shape& shape) {
  return family == "dualpipe" ? Extent{shape.ranks / 2, shape.microbatches}
                              : Extent{shape.ranks, 2 * shape.microbatches};
}

double exact_step_time(const Extent& extent, const Durations& costs) {
  const int H = extent.depth;
  const int B = costs.input + costs.weight;
  return 2.0 * H * costs.forward + std::max(H * costs.forward, (H - 1) * costs.input) +
         (extent.microbatches - H - 2.0) * costs.overlapped + (H + 2.0) * B +
         (H - 1.0) * std::max(costs.input - costs.weight, 0);
}

double count(Time time) {
  return static_cast<double>(time.count());
}

Metrics metrics_of(std::string_view family, const Shape& shape, const Durations& costs) {
  return measure(simulated(family, shape, stage_costs(costs)));
}

std::vector<std::string> labels_of(std::string_view family, const Shape& shape,
                                   const Durations& costs) {
  return {fmt::format("`{}`", family), fmt::format("{} x {}", shape.ranks, shape.microbatches),
          fmt::format("{} {} {} {}", costs.forward, costs.input, costs.weight, costs.overlapped)};
}

using Cases = std::vector<std::pair<std::string_view, Shape>>;

std::string exact_table() {
  const Cases cases{{"dualpipe", {2, 4}},    {"dualpipe", {4, 10}},  {"dualpipe", {8, 20}},
                    {"dualpipe", {16, 120}}, {"dualpipev", {1, 2}},  {"dualpipev", {4, 10}},
                    {"dualpipev", {8, 21}},  {"dualpipev", {16, 60}}};
  FigureTable table{.labels = {"schedule", "P x M", "F I W FB"}, .published = "formula"};
  for (const auto& [family, shape] : cases) {
    for (const Durations& costs : durations) {
      table.figures.push_back({.labels = labels_of(family, shape, costs),
                               .published = exact_step_time(extent_of(family, shape), costs),
                               .ours = count(metrics_of(family, shape, costs).step_time)});
    }
  }
  return markdown(table);
}

std::string published_bubble_table() {
  const std::array<Durations, 5> cases{
      {{.forward = 1, .input = 1, .weight = 1, .overlapped = 3},
       {.forward = 500, .input = 500, .weight = 300, .overlapped = 1'300},
       {.forward = 500, .input = 500, .weight = 300, .overlapped = 1'150},
       {.forward = 500, .input = 600, .weight = 300, .overlapped = 1'400},
       {.forward = 500, .input = 500, .weight = 600, .overlapped = 1'600}}};
  FigureTable table{.labels = {"schedule", "P x M", "F I W FB"}};
  for (const auto& [family, shape] : Cases{{"dualpipe", {8, 20}}, {"dualpipev", {4, 10}}}) {
    for (const Durations& costs : cases) {
      const double B = costs.input + costs.weight;
      table.figures.push_back(
          {.labels = labels_of(family, shape, costs),
           .published =
               (extent_of(family, shape).depth - 1.0) * (costs.overlapped + B - 3.0 * costs.weight),
           .ours = count(
               std::ranges::max(metrics_of(family, shape, costs).ranks, {}, &RankMetrics::idle)
                   .idle),
           .why =
               "The published formula holds where F = I >= W; the exact one above holds for any."});
    }
  }
  return markdown(table);
}

std::string picture_table() {
  const Metrics metrics = metrics_of("dualpipe", {8, 20}, durations[0]);
  FigureTable table{.labels = {"DualPipe's picture"}};
  table.figures.push_back(
      {.labels = {"step, units"}, .published = 66, .ours = count(metrics.step_time)});
  const auto [least, most] = std::ranges::minmax(metrics.ranks, {}, &RankMetrics::idle);
  const auto [fewest, peak] =
      std::ranges::minmax(metrics.ranks, {}, &RankMetrics::peak_activations);
  table.figures.push_back(
      {.labels = {"bubble of the least idle rank"}, .published = 6, .ours = count(least.idle)});
  table.figures.push_back(
      {.labels = {"bubble of the most idle rank"}, .published = 6, .ours = count(most.idle)});
  table.figures.push_back({.labels = {"activations, fewest of a rank"},
                           .published = 9,
                           .ours = 1.0 * fewest.peak_activations});
  table.figures.push_back({.labels = {"activations, most of a rank"},
                           .published = 9,
                           .ours = 1.0 * peak.peak_activations});
  return markdown(table);
}

}  // namespace

std::string dualpipe_section() {
  return "## DualPipe and DualPipeV\n\n"
         "The exact step time, whatever the costs, without transfers: with H = P/2 and N = M "
         "(DualPipeV: H = P and N = 2M),\n"
         "2H F + max(H F, (H-1) I) + (N-H-2) FB + (H+2) B + (H-1) max(I-W, 0). It was worked out "
         "from the order of the\nreference implementation (github.com/deepseek-ai/DualPipe). Times "
         "in nanoseconds.\n\n" +
         exact_table() +
         "\nThe bubble that the README of that repository gives, (P/2-1)(FB + B - 3W), for "
         "DualPipeV with the P of the\nDualPipe it is half of; ours is the largest idle time of a "
         "rank.\n\n" +
         published_bubble_table() +
         "\nThe README's picture: 8 ranks, 20 microbatches, every op one unit, a pair three; the "
         "number of activations is from\nthe table beside it, P + 1.\n\n" +
         picture_table();
}

}  // namespace dualpipe
