// A line of a written schedule, and where it is. Not installed: text.h and lowered.h read files.

#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "costs/error.h"

namespace dualpipe {

struct Line {
  std::string_view text;
  std::string_view origin;
  std::size_t number = 0;  // from 1

  // "mine.csv:3:17"; columns of a line begin at 0 here and at 1 there.
  [[nodiscard]] std::string place(std::size_t column) const {
    return fmt::format("{}:{}:{}", origin, number, column + 1);
  }
  [[noreturn]] void refuse(std::size_t column, const std::string& what) const {
    throw Error(ExitCode::invalid_schedule, place(column) + ": " + what);
  }
  // Refuses a part of the line that no message could show.
  void require_text(std::string_view word, std::size_t column) const {
    for (const char letter : word) {
      if (const auto byte = static_cast<unsigned char>(letter); byte < ' ' || byte == 0x7f) {
        refuse(column, fmt::format("expected text, found a byte of value {:#04x}", byte));
      }
    }
  }
};

// Calls visit(line) for every line of the text, without its ending.
template <typename Visit>
void for_each_line(std::string_view text, std::string_view origin, const Visit& visit) {
  std::size_t number = 0;
  while (!text.empty()) {
    const std::size_t end = text.find('\n') < text.size() ? text.find('\n') : text.size();
    Line line{.text = text.substr(0, end), .origin = origin, .number = ++number};
    text.remove_prefix(end < text.size() ? end + 1 : end);
    if (line.text.ends_with('\r')) {
      line.text.remove_suffix(1);
    }
    visit(line);
  }
}

}  // namespace dualpipe
