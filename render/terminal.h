// A timeline as text for a terminal: one row per rank, time from left to right, each op as many
// columns wide as it is long.

#pragma once

#include <string>

#include "trace/timeline.h"

namespace dualpipe {

struct TerminalOptions {
  bool colour = false;             // 24-bit escape codes; without, letters tell the kinds apart
  int columns = 80;                // no line is wider
  std::string style = "dualpipe";  // of the colours; see style.h

  bool operator==(const TerminalOptions&) const = default;
};

// With colour, a box has its kind's colour (a shade darker where it touches another of that colour)
// and its microbatch's number where that fits. Without, a box is its kind's letter, the number
// where that fits, and dashes to its end: "F3", "B12-"; the two halves of an overlapped pair have
// small letters. Dots (without colour) or blanks are idle time. The share of the step that a rank
// idles stands at the right.
//
// Where one column per unit of time is too wide, the rows continue in further blocks below, up to
// four; a timeline longer than that, or without a common unit, is scaled, and an op narrower than a
// column may fall between two. Throws Error (usage): an unknown style, or too few columns for a
// picture (about 40).
[[nodiscard]] std::string to_terminal(const Timeline& timeline,
                                      const TerminalOptions& options = {});

}  // namespace dualpipe
