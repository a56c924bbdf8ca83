#include "tests/validation/figures.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace dualpipe {
namespace {

std::vector<std::string> cells_of(const Figure& figure) {
  if (differs(figure) && figure.why.empty()) {
    throw std::runtime_error(fmt::format("{}: published {}, ours {}: say why they differ",
                                         fmt::join(figure.labels, ", "), figure.published,
                                         figure.ours));
  }
  const double difference = figure.ours - figure.published;
  std::vector<std::string> cells = figure.labels;
  cells.push_back(fmt::format("{:.{}f}", figure.published, figure.decimals.published));
  cells.push_back(fmt::format("{:.{}f}", figure.ours, figure.decimals.ours));
  cells.push_back(signed_number(difference, figure.decimals.ours));
  cells.push_back(signed_percent(difference, figure.published));
  return cells;
}

}  // namespace

bool differs(const Figure& figure) {
  const double half_a_digit = 0.5 * std::pow(10.0, -figure.decimals.published);
  // A value in the middle between two published ones is either's.
  return std::abs(figure.ours - figure.published) > half_a_digit * (1.0 + 1e-9);
}

std::string signed_number(double value, int decimals) {
  const std::string text = fmt::format("{:+.{}f}", value, decimals);
  return text.find_first_of("123456789") == std::string::npos ? "0" : text;
}

std::string signed_percent(double value, double reference) {
  return signed_number(100.0 * value / reference, 2) + " %";
}

std::string markdown(const FigureTable& table) {
  std::vector<std::string> headers = table.labels;
  headers.insert(headers.end(), {table.published, "ours", "difference", "%"});
  const bool explains = std::ranges::any_of(table.figures, differs);
  if (explains) {
    headers.emplace_back("why");
  }
  std::vector<std::vector<std::string>> rows;
  for (const Figure& figure : table.figures) {
    rows.push_back(cells_of(figure));
    if (explains) {
      rows.back().push_back(differs(figure) ? figure.why : "");
    }
  }
  return markdown_table(headers, static_cast<int>(table.labels.size()), rows);
}

std::string markdown_table(const std::vector<std::string>& headers, int words,
                           std::span<const std::vector<std::string>> rows) {
  std::string text = fmt::format("| {} |\n|", fmt::join(headers, " | "));
  for (std::size_t column = 0; column < headers.size(); ++column) {
    const bool is_number = static_cast<int>(column) >= words && headers[column] != "why";
    text += is_number ? "--:|" : "---|";
  }
  text += '\n';
  for (const std::vector<std::string>& row : rows) {
    text += fmt::format("| {} |\n", fmt::join(row, " | "));
  }
  return text;
}

}  // namespace dualpipe
