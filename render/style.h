// How pictures are coloured: a table with one row per convention of the literature, so that a
// figure can stand beside those of the paper it is compared with. A style is data; to add one is
// one row.

#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "scheduler/op.h"

namespace dualpipe {

struct Colour {
  std::uint32_t rgb = 0;  // 0xRRGGBB

  [[nodiscard]] constexpr unsigned red() const { return rgb >> 16; }
  [[nodiscard]] constexpr unsigned green() const { return rgb >> 8 & 0xff; }
  [[nodiscard]] constexpr unsigned blue() const { return rgb & 0xff; }

  bool operator==(const Colour&) const = default;
};

// "#f1b238".
[[nodiscard]] std::string to_string(Colour colour);

struct Palette {
  Colour forward;
  Colour backward;
  Colour backward_input;
  Colour backward_weight;
  Colour text;  // of the numbers on them

  [[nodiscard]] Colour fill(OpKind kind) const;
};

enum class Label : std::uint8_t {
  microbatch,  // "3"
  op,          // "0F3"
};

struct Style {
  std::string_view name;
  std::string_view summary;
  Palette first_chunk;   // a rank's first stage in a direction
  Palette later_chunks;  // its other stages
  Label label = Label::microbatch;

  [[nodiscard]] const Palette& palette(int chunk) const {
    return chunk == 0 ? first_chunk : later_chunks;
  }
};

// Sorted by name.
[[nodiscard]] std::span<const Style> styles();

// Throws Error (usage) that lists the names when there is no such style. The result lives as long
// as the program.
[[nodiscard]] const Style& find_style(std::string_view name);

}  // namespace dualpipe
