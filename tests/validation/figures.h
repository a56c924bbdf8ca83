// Published figures beside ours, as tables of docs/validation.md.

#pragma once

#include <span>
#include <string>
#include <vector>

namespace dualpipe {

struct Decimals {
  int published = 0;
  int ours = 0;
};

struct Figure {
  std::vector<std::string> labels{};  // one for each of the table's
  double published = 0.0;
  double ours = 0.0;
  Decimals decimals{};
  std::string why{};  // a sentence, for where they differ by more than the published rounding
};

struct FigureTable {
  std::vector<std::string> labels{};    // headers of what says which figure it is
  std::string published = "published";  // header: where the other figure is from
  std::vector<Figure> figures{};
};

// By more than half of the last published digit.
[[nodiscard]] bool differs(const Figure& figure);

// "+0.02", "0" where the digits are all zeros.
[[nodiscard]] std::string signed_number(double value, int decimals);
// Of `value` to `reference`: "-3.1 %", "0 %".
[[nodiscard]] std::string signed_percent(double value, double reference);

// A Markdown table: labels, published, ours, difference absolute and in per cent, and why where
// figures differ. Throws std::runtime_error naming a figure that differs and does not say why: who
// changes a figure has to explain it.
[[nodiscard]] std::string markdown(const FigureTable& table);

// Any Markdown table; `words` are the columns, from the left, that hold words and not numbers.
// Requires: a cell in every row for every header.
[[nodiscard]] std::string markdown_table(const std::vector<std::string>& headers, int words,
                                         std::span<const std::vector<std::string>> rows);

}  // namespace dualpipe
