// Drawing: a finished figure as shapes at their places, before any file format. Layout happens
// once, in figure.cc; a format (SVG now) only writes the shapes down. Lengths are whole hundredths
// of a point, so that every format prints the same digits; y grows downwards.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "render/style.h"

namespace dualpipe {

using Length = int;  // hundredths of a point
inline constexpr Length point = 100;
inline constexpr Length inch = 72 * point;

// A coloured stretch of a cell, with its number in the middle.
struct Fill {
  Length x = 0;
  Length width = 0;
  Colour colour;
  Colour text;
  std::string label;  // empty: none
};

// What one slot looks like: one fill, or a pair's two side by side in one border. Very narrow ones
// have no border, which would hide the colour, or stand for several slots.
struct Cell {
  Length y = 0;
  Length height = 0;
  std::vector<Fill> fills;  // one or two, touching, from left to right
  bool bordered = true;
  std::string title;  // shown on hover where the format can; empty: none
};

enum class Anchor : std::uint8_t { start, middle, end };

struct Text {
  Length x = 0;
  Length y = 0;  // of the baseline
  Length size = 0;
  Anchor anchor = Anchor::start;
  bool bold = false;
  std::string content;
};

// Horizontal or vertical; an arrow's head is at its end.
struct Line {
  Length x_begin = 0;
  Length y_begin = 0;
  Length x_end = 0;
  Length y_end = 0;
  bool arrow = false;
};

// The outline of a panel.
struct Frame {
  Length x = 0;
  Length y = 0;
  Length width = 0;
  Length height = 0;
};

// To be drawn in this order.
struct Drawing {
  Length width = 0;
  Length height = 0;
  std::string title;
  Length hairline = 0;    // the width of every line and border
  Length label_size = 0;  // of the labels of all cells
  std::vector<Cell> cells;
  std::vector<Line> lines;
  std::vector<Frame> frames;
  std::vector<Text> texts;
};

// About how wide a text is, for the font is the reader's: letters as wide as in DejaVu Sans, which
// is the widest that a reader is likely to have, in three classes. At least 0.6 em for a digit.
[[nodiscard]] Length text_width(std::string_view text, Length size);

// The baseline that centres digits and capitals, 0.72 em high, on `middle`. Formats disagree on how
// to say "centred"; all agree on baselines.
[[nodiscard]] Length centred_baseline(Length middle, Length size);

}  // namespace dualpipe
