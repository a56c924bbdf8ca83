#include <array>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "tests/support/zero_bubble_table.h"
#include "tests/validation/figures.h"
#include "tests/validation/sections.h"

namespace dualpipe {
namespace {

struct PublishedColumn {
  std::string_view family;
  std::string_view name;
  double ZeroBubbleRow::* bubble = nullptr;
};

constexpr std::array<PublishedColumn, 5> columns{{{"1f1b", "1F1B", &ZeroBubbleRow::one_f_one_b},
                                                  {"zb-h1", "ZB-H1", &ZeroBubbleRow::zb_h1},
                                                  {"zb-h2", "ZB-H2", &ZeroBubbleRow::zb_h2},
                                                  {"zb-1p", "ZB-1p", &ZeroBubbleRow::zb_1p},
                                                  {"zb-2p", "ZB-2p", &ZeroBubbleRow::zb_2p}}};

Figure figure_of(const PublishedColumn& column, const ZeroBubbleRow& row) {
  const double published = row.*column.bubble;
  const double ours = longest_rank_bubble(row, column.family);
  return {
      .labels = {std::string(column.name),
                 fmt::format("{} x {}", row.shape.ranks, row.shape.microbatches),
                 fmt::format("{:.3f} {:.3f} {:.3f} {:.3f}", row.durations.forward / 1e3,
                             row.durations.input / 1e3, row.durations.weight / 1e3, row.p2p / 1e3)},
      .published = published,
      .ours = ours,
      .decimals = {.published = 4, .ours = 5},
      .why = "A better order for the same costs and memory."};
}

}  // namespace

std::string zero_bubble_section() {
  FigureTable table{.labels = {"schedule", "P x M", "F I W c (ms)"}};
  for (const PublishedColumn& column : columns) {
    for (const ZeroBubbleRow& row : zero_bubble_table) {
      table.figures.push_back(figure_of(column, row));
    }
  }
  return "## The zero-bubble table\n\n"
         "Bubbles of twelve profiled runs, 1 - M(F+I+W) / longest time of a rank: Qi et al., "
         "\"Zero "
         "Bubble Pipeline Parallelism\",\nICLR 2024. ZB-1p and ZB-2p are arranged for the costs of "
         "their row, here with a quarter or less of the effort that\n`dualpipe-sim` spends if "
         "nothing else is asked for.\n\n" +
         markdown(table);
}

}  // namespace dualpipe
