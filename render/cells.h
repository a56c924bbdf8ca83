// The cells of one row of a figure: a rank's spans, put at their places.
//
// A slot narrower than the eye resolves is not drawn on its own: neighbours are gathered until they
// are wide enough, and drawn as one cell in the colour of what takes the most time among them. So a
// row holds a bounded number of cells (at most two per `narrowest`), however long the timeline.

#pragma once

#include <span>
#include <vector>

#include "costs/cost_model.h"
#include "render/drawing.h"
#include "render/part.h"
#include "render/style.h"
#include "trace/timeline.h"

namespace dualpipe {

inline constexpr Length narrowest = 50;      // of a cell that stands for one slot
inline constexpr Length bordered_min = 150;  // of a cell with a border

// Where a rank's row is, and which time it shows.
struct Strip {
  int rank = 0;
  Time from{};
  Time to{};  // > from
  Length left = 0;
  Length right = 0;
  Length top = 0;
  Length height = 0;

  [[nodiscard]] Length x_of(Time time) const;
};

struct Look {
  const Style& style;
  bool number_reverse = false;  // label the microbatches of direction 1 too
  bool titles = false;
};

// What lies outside the strip's time is cut off. Requires: `spans` are those of the strip's rank,
// in order, and do not overlap.
[[nodiscard]] std::vector<Cell> cells_of(std::span<const Span> spans, const PartSplitter& splitter,
                                         const Strip& strip, const Look& look);

// One size for all labels, at most `size_max`: as large as fits nine in ten of the boxes that can
// hold the widest label at four points, the least that is legible. Removes the labels of the other
// boxes even where a short one would fit: numbers that end at 9 look like a mistake.
[[nodiscard]] Length fit_labels(std::span<Cell> cells, Length size_max);

}  // namespace dualpipe
