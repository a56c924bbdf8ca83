#include "render/figure.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/core.h>

#include "costs/check.h"
#include "costs/cost_model.h"
#include "costs/error.h"
#include "render/cells.h"
#include "render/drawing.h"
#include "render/part.h"
#include "render/style.h"
#include "render/units.h"
#include "scheduler/op.h"
#include "scheduler/pipeline.h"
#include "trace/timeline.h"

namespace dualpipe {
namespace {

constexpr Length margin = point;

// Lengths that go with the width of a page.
struct Sizes {
  Length text = 0;       // of labels, captions and legend
  Length row = 0;        // height of a rank's row
  Length label_max = 0;  // of the numbers in the boxes
  Length swatch = 0;     // height of a legend's box, and width of one unit of it
  Length hairline = 0;
  int ticks_max = 0;
};

// Figures narrower than this stand in one column of two.
constexpr Length page_width = 5 * inch;
constexpr Sizes column_sizes{
    .text = 600, .row = 1000, .label_max = 600, .swatch = 600, .hairline = 25, .ticks_max = 6};
constexpr Sizes page_sizes{
    .text = 750, .row = 1350, .label_max = 700, .swatch = 750, .hairline = 35, .ticks_max = 11};

struct Window {
  Time from{};
  Time to{};
};

// A figure being drawn, from the top down.
struct Page {
  const FigureOptions& options;
  const Style& style;
  const Sizes& sizes;
  Window window;
  Length left = 0;  // of the time axis
  Length right = 0;
  Length y = margin;  // below what is drawn
  bool titles = false;
  Drawing drawing;
};

Window window_of(std::span<const Panel> panels, const FigureOptions& options) {
  std::optional<Time> first;
  std::optional<Time> last;
  for (const Panel& panel : panels) {
    for (const std::vector<Span>& spans : panel.timeline.ranks) {
      if (!spans.empty()) {
        first = std::min(first.value_or(spans.front().begin), spans.front().begin);
        last = std::max(last.value_or(spans.back().end), spans.back().end);
      }
    }
  }
  const Time from = options.from.value_or(first.value_or(Time{}));
  const Time to = options.to.value_or(last.value_or(Time{}));
  const bool cropped = options.from.has_value() || options.to.has_value();
  if (cropped && from >= to) {
    throw Error(
        ExitCode::usage,
        fmt::format("nothing to draw from {} to {}: expected a begin before the end, within "
                    "the timeline, which runs from {} to {}",
                    format_time(from), format_time(to), format_time(first.value_or(Time{})),
                    format_time(last.value_or(Time{}))));
  }
  // Where nothing ran, or in no time, an axis of any length will do.
  return {.from = from, .to = std::max(to, from + Time(1))};
}

std::size_t slots_in(std::span<const Panel> panels, const Window& window) {
  std::size_t slots = 0;
  for (const Panel& panel : panels) {
    for (const std::vector<Span>& spans : panel.timeline.ranks) {
      slots +=
          static_cast<std::size_t>(std::count_if(spans.begin(), spans.end(), [&](const Span& span) {
            return span.begin < window.to && span.end > window.from;
          }));
    }
  }
  return slots;
}

std::string rank_label(int rank) {
  return fmt::format("Device {}", rank);
}

// Bold letters are wider.
Length rank_label_width(int ranks, Length size) {
  return text_width(rank_label(ranks - 1), size) * 115 / 100;
}

std::string title_of(const Pipeline& pipeline) {
  return fmt::format("{}: {} ranks, {} microbatches", pipeline.name, pipeline.ranks(),
                     pipeline.microbatches());
}

Page begin_page(std::span<const Panel> panels, const FigureOptions& options) {
  const Length width = width_of(options);
  const Window window = window_of(panels, options);
  int ranks = 0;
  for (const Panel& panel : panels) {
    ranks = std::max(ranks, panel.timeline.pipeline.ranks());
  }
  Page page{.options = options,
            .style = find_style(options.style),
            .sizes = width < page_width ? column_sizes : page_sizes,
            .window = window,
            .titles = options.titles.value_or(slots_in(panels, window) <= titles_max),
            .drawing = {}};
  page.left = margin + rank_label_width(ranks, page.sizes.text) + page.sizes.text / 2;
  page.right = width - margin;
  page.drawing.width = width;
  page.drawing.hairline = page.sizes.hairline;
  page.drawing.title = title_of(panels.front().timeline.pipeline);
  return page;
}

void add_row(Page& page, const Timeline& timeline, const PartSplitter& splitter, int rank) {
  const Sizes& sizes = page.sizes;
  const Strip strip{.rank = rank,
                    .from = page.window.from,
                    .to = page.window.to,
                    .left = page.left,
                    .right = page.right,
                    .top = page.y,
                    .height = sizes.row};
  const Look look{
      .style = page.style, .number_reverse = page.options.number_reverse, .titles = page.titles};
  std::vector<Cell> cells =
      cells_of(timeline.ranks[static_cast<std::size_t>(rank)], splitter, strip, look);
  std::vector<Cell>& all = page.drawing.cells;
  all.insert(all.end(), std::make_move_iterator(cells.begin()),
             std::make_move_iterator(cells.end()));
  if (all.size() > cells_max) {
    throw Error(ExitCode::usage,
                fmt::format("the figure would hold more than {} boxes: draw a shorter time of it, "
                            "or a narrower figure",
                            cells_max));
  }
  page.drawing.texts.push_back({.x = page.left - sizes.text / 2,
                                .y = centred_baseline(page.y + sizes.row / 2, sizes.text),
                                .size = sizes.text,
                                .anchor = Anchor::end,
                                .bold = true,
                                .content = rank_label(rank)});
  page.y += sizes.row;
}

void add_panel(Page& page, const Panel& panel) {
  if (!panel.caption.empty()) {
    page.y += page.sizes.text;
    page.drawing.texts.push_back(
        {.x = page.left, .y = page.y, .size = page.sizes.text, .content = panel.caption});
    page.y += page.sizes.text / 2;
  }
  const Length top = page.y;
  const PartSplitter splitter(panel.timeline);
  const int ranks = static_cast<int>(panel.timeline.ranks.size());
  for (int rank = 0; rank < ranks; ++rank) {
    if (rank > 0) {
      page.drawing.lines.push_back(
          {.x_begin = page.left, .y_begin = page.y, .x_end = page.right, .y_end = page.y});
    }
    add_row(page, panel.timeline, splitter, rank);
  }
  page.drawing.frames.push_back(
      {.x = page.left, .y = top, .width = page.right - page.left, .height = page.y - top});
}

// The shortest of 1, 2, 5, 10, 20, 50, ... ns that divides the window into at most `ticks_max` - 1.
Time tick_step(const Window& window, int ticks_max) {
  const std::int64_t least = (window.to - window.from).count() / (ticks_max - 1);
  std::int64_t decade = 1;
  while (decade <= least / 10) {
    decade *= 10;
  }
  for (const std::int64_t factor : {1, 2, 5}) {
    if (decade * factor >= least) {
      return Time(decade * factor);
    }
  }
  return Time(decade * 10);
}

void add_ticks(Page& page) {
  const Sizes& sizes = page.sizes;
  const Strip axis{
      .from = page.window.from, .to = page.window.to, .left = page.left, .right = page.right};
  const Time step = tick_step(page.window, sizes.ticks_max);
  const TimeUnit unit = unit_of(page.window.to);
  const Length mark = sizes.text / 3;
  const Length baseline = page.y + mark + sizes.text;
  const bool whole = page.window.from % step == Time{};
  for (Time tick = (page.window.from / step + (whole ? 0 : 1)) * step; tick <= page.window.to;
       tick += step) {
    const Length x = axis.x_of(tick);
    page.drawing.lines.push_back(
        {.x_begin = x, .y_begin = page.y, .x_end = x, .y_end = page.y + mark});
    const std::string label = format_scaled(tick.count(), unit.nanoseconds);
    // A label at the right end would stick out of the figure.
    const Length reach = x + text_width(label, sizes.text) / 2;
    const bool sticks_out = reach > page.drawing.width - margin;
    page.drawing.texts.push_back({.x = sticks_out ? page.right : x,
                                  .y = baseline,
                                  .size = sizes.text,
                                  .anchor = sticks_out ? Anchor::end : Anchor::middle,
                                  .content = label});
  }
  page.y = baseline;
}

// "Time", and an arrow that says which way it runs.
void add_arrow(Page& page) {
  const Sizes& sizes = page.sizes;
  const std::string text =
      page.options.ticks ? fmt::format("Time ({})", unit_of(page.window.to).name) : "Time";
  const Length baseline = page.y + sizes.text * 3 / 2;
  const Length middle = baseline - sizes.text * 36 / 100;
  const Length begin = page.left + text_width(text, sizes.text) + sizes.text / 2;
  page.drawing.texts.push_back(
      {.x = page.left, .y = baseline, .size = sizes.text, .content = text});
  page.drawing.lines.push_back({.x_begin = begin,
                                .y_begin = middle,
                                .x_end = begin + (page.right - page.left) / 8,
                                .y_end = middle,
                                .arrow = true});
  page.y = baseline;
}

struct LegendEntry {
  std::vector<Fill> fills;  // x from the entry's left
  std::string text;

  [[nodiscard]] Length swatch_width() const { return fills.back().x + fills.back().width; }
  [[nodiscard]] Length width(const Sizes& sizes) const {
    return swatch_width() + sizes.text / 2 + text_width(text, sizes.text);
  }
};

std::string capitalised(std::string_view text) {
  std::string copy(text);
  copy.front() = static_cast<char>(copy.front() - 'a' + 'A');
  return copy;
}

// The swatches are as wide as the boxes are where F = I = W: a full backward is two units.
std::vector<LegendEntry> legend_entries(const Page& page, std::span<const Panel> panels) {
  Contents contents;
  for (const Panel& panel : panels) {
    contents = contents_of(panel.timeline, contents);
  }
  const Palette& palette = page.style.first_chunk;
  const Length unit = page.sizes.swatch;
  const auto fill = [&](OpKind kind, Length x) {
    const Length width = kind == OpKind::backward ? 2 * unit : unit;
    return Fill{.x = x, .width = width, .colour = palette.fill(kind), .text = {}, .label = {}};
  };
  std::vector<LegendEntry> entries;
  for (const OpKind kind : contents.kinds) {
    entries.push_back({.fills = {fill(kind, 0)}, .text = capitalised(legend_of(kind))});
  }
  if (contents.pairs) {
    entries.push_back({.fills = {fill(OpKind::forward, 0), fill(OpKind::backward, unit)},
                       .text = capitalised(legend_of_pair)});
  }
  return entries;
}

// Draws one line of the legend, centred on the figure.
void add_legend_line(Page& page, std::span<const LegendEntry> entries, Length width) {
  const Sizes& sizes = page.sizes;
  const Length top = page.y + sizes.text;
  Length x = (page.drawing.width - width) / 2;
  for (const LegendEntry& entry : entries) {
    Cell cell{.y = top, .height = sizes.swatch, .fills = entry.fills, .title = {}};
    for (Fill& fill : cell.fills) {
      fill.x += x;
    }
    page.drawing.cells.push_back(std::move(cell));
    page.drawing.texts.push_back({.x = x + entry.swatch_width() + sizes.text / 2,
                                  .y = centred_baseline(top + sizes.swatch / 2, sizes.text),
                                  .size = sizes.text,
                                  .content = entry.text});
    x += entry.width(sizes) + 2 * sizes.text;
  }
  page.y = top + sizes.swatch;
}

// As many entries to a line as fit.
void add_legend(Page& page, std::span<const LegendEntry> entries) {
  const Length gap = 2 * page.sizes.text;
  const Length limit = page.drawing.width - 2 * margin;
  std::size_t begin = 0;
  Length width = 0;
  for (std::size_t entry = 0; entry < entries.size(); ++entry) {
    const Length more = entries[entry].width(page.sizes);
    if (entry > begin && width + gap + more > limit) {
      add_legend_line(page, entries.subspan(begin, entry - begin), width);
      begin = entry;
    }
    width = entry == begin ? more : width + gap + more;
  }
  if (begin < entries.size()) {
    add_legend_line(page, entries.subspan(begin), width);
  }
}

}  // namespace

Length width_of(const FigureOptions& options) {
  const bool drawable = options.width_inches >= 1.0 && options.width_inches <= 100.0;  // not NaN
  if (!drawable) {
    throw Error(ExitCode::usage,
                fmt::format("expected a figure width from 1 to 100 inches, found {}",
                            options.width_inches));
  }
  return static_cast<Length>(std::lround(options.width_inches * inch));
}

Drawing draw(std::span<const Panel> panels, const FigureOptions& options) {
  CHECK(!panels.empty());
  Page page = begin_page(panels, options);
  for (const Panel& panel : panels) {
    if (&panel != panels.data()) {
      page.y += page.sizes.text;
    }
    add_panel(page, panel);
  }
  page.drawing.label_size = fit_labels(page.drawing.cells, page.sizes.label_max);
  if (options.ticks) {
    add_ticks(page);
  }
  add_arrow(page);
  add_legend(page, legend_entries(page, panels));
  page.drawing.height = page.y + 2 * margin;
  return std::move(page.drawing);
}

}  // namespace dualpipe
