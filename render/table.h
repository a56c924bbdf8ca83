// Text in aligned columns, for the command line.

#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace dualpipe {

enum class Align : std::uint8_t { left, right };

struct Column {
  std::string header;
  Align align = Align::right;  // numbers stand to the right, words to the left
};

// The header, a rule and the rows, two spaces between columns, no spaces at the end of a line;
// every line ends with a newline. Requires: every row has one cell per column.
[[nodiscard]] std::string format_table(std::span<const Column> columns,
                                       std::span<const std::vector<std::string>> rows);

}  // namespace dualpipe
