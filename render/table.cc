#include "render/table.h"

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "costs/check.h"

namespace dualpipe {
namespace {

std::size_t character_count(std::string_view text) {
  // Every UTF-8 character has one byte that is not a continuation (10xxxxxx).
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char byte) {
    return (static_cast<unsigned char>(byte) & 0xc0U) != 0x80U;
  }));
}

struct Layout {
  std::vector<std::size_t> widths;  // [column]
  std::vector<Align> aligns;

  void add_line(std::string& out, const std::vector<std::string>& cells) const {
    std::string line;
    for (std::size_t column = 0; column < cells.size(); ++column) {
      line += column == 0 ? "" : "  ";
      const std::string padding(widths[column] - character_count(cells[column]), ' ');
      line += aligns[column] == Align::left ? cells[column] + padding : padding + cells[column];
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + '\n';
  }
};

}  // namespace

std::string format_table(std::span<const Column> columns,
                         std::span<const std::vector<std::string>> rows) {
  Layout layout;
  std::vector<std::string> headers;
  for (const Column& column : columns) {
    layout.widths.push_back(character_count(column.header));
    layout.aligns.push_back(column.align);
    headers.push_back(column.header);
  }
  for (const std::vector<std::string>& row : rows) {
    CHECK(row.size() == columns.size());
    for (std::size_t column = 0; column < row.size(); ++column) {
      layout.widths[column] = std::max(layout.widths[column], character_count(row[column]));
    }
  }
  std::vector<std::string> rule;
  for (const std::size_t width : layout.widths) {
    rule.emplace_back(width, '-');
  }
  std::string out;
  layout.add_line(out, headers);
  layout.add_line(out, rule);
  for (const std::vector<std::string>& row : rows) {
    layout.add_line(out, row);
  }
  return out;
}

}  // namespace dualpipe
