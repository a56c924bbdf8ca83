// draw(): timelines in, a finished figure out - rows of boxes over one time axis, rank labels, an
// arrow that says Time, a legend - as papers on pipeline parallelism draw them. svg.h writes it.

#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>

#include "costs/cost_model.h"
#include "render/drawing.h"
#include "trace/timeline.h"

namespace dualpipe {

struct FigureOptions {
  std::string style = "dualpipe";  // see style.h
  double width_inches = 7.0;       // a page of two columns; 3.3 is one column
  bool number_reverse = false;     // number the boxes of direction 1 too; papers leave them empty
  bool ticks = false;              // times below the axis

  // A text per box, shown on hovering; by default up to titles_max slots.
  std::optional<bool> titles = std::nullopt;

  // The time to show; by default from the earliest begin to the latest end.
  std::optional<Time> from = std::nullopt;
  std::optional<Time> to = std::nullopt;

  bool operator==(const FigureOptions&) const = default;
};

inline constexpr std::size_t titles_max = 5'000;  // slots drawn with a title by default
inline constexpr std::size_t cells_max = 200'000;

// One timeline of a figure.
struct Panel {
  const Timeline& timeline;
  std::string caption;  // above it; empty: none
};

// Throws Error (usage): a width outside 1 to 100 inches.
[[nodiscard]] Length width_of(const FigureOptions& options);

// The panels one above the other, on one time axis: a prediction above a measurement, say. Slots
// too narrow to see are merged (see cells.h), so the size of a figure follows from its width and
// ranks, not from the length of the timeline. Requires: at least one panel. Throws Error (usage):
// an unknown style, a width outside 1 to 100 inches, an empty crop, more than cells_max boxes after
// merging.
[[nodiscard]] Drawing draw(std::span<const Panel> panels, const FigureOptions& options);

}  // namespace dualpipe
