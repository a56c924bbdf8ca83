#include "render/cells.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <fmt/core.h>

#include "costs/cost_model.h"
#include "render/drawing.h"
#include "render/part.h"
#include "render/style.h"
#include "render/units.h"
#include "scheduler/op.h"
#include "scheduler/schedule.h"
#include "trace/timeline.h"

namespace dualpipe {
namespace {

constexpr Length label_size_min = 4 * point;
constexpr Length label_margin = 50;  // of a cell's width, both sides together

// Neighbours too narrow to be drawn on their own.
struct Gathered {
  Time begin{};
  Time end{};
  Time busy{};
  std::vector<std::pair<Colour, Time>> shares;  // by colour, in order of appearance

  [[nodiscard]] bool empty() const { return shares.empty(); }

  void add(const Part& part, Colour colour) {
    if (empty()) {
      begin = part.begin;
    }
    end = part.end;
    busy += part.duration();
    const auto share = std::find_if(shares.begin(), shares.end(),
                                    [&](const auto& known) { return known.first == colour; });
    if (share == shares.end()) {
      shares.emplace_back(colour, part.duration());
    } else {
      share->second += part.duration();
    }
  }

  // What takes the most time; none when that is idling.
  [[nodiscard]] std::optional<Colour> colour() const {
    const auto longest = std::max_element(
        shares.begin(), shares.end(),
        [](const auto& left, const auto& right) { return left.second < right.second; });
    if (longest == shares.end() || longest->second < end - begin - busy) {
      return {};
    }
    return longest->first;
  }
};

std::string label_of(const Part& part, const Look& look) {
  if (part.reverse && !look.number_reverse) {
    return "";
  }
  return look.style.label == Label::op ? to_string(part.op) : std::to_string(part.op.microbatch);
}

std::string title_of(const Span& span, const Strip& strip) {
  const TimeUnit unit = unit_of(strip.to);
  std::string ops = to_string(span.slot.front());
  if (span.slot.is_pair()) {
    ops += " + " + to_string(span.slot.back());
  }
  return fmt::format("{} on rank {}: {}-{} {}", ops, strip.rank, format_time_in(span.begin, unit),
                     format_time_in(span.end, unit), unit.name);
}

// Builds the cells of one row from left to right.
class Row {
 public:
  Row(const PartSplitter& splitter, const Strip& strip, const Look& look)
      : splitter_(splitter), strip_(strip), look_(look) {}

  void add(const Span& span) {
    const Time begin = std::max(span.begin, strip_.from);
    const Time end = std::min(span.end, strip_.to);
    if (begin >= end) {
      return;
    }
    const Parts parts = splitter_.split(span);
    if (strip_.x_of(end) - strip_.x_of(begin) >= narrowest) {
      draw_gathered();
      draw(span, parts, strip_.x_of(end) - strip_.x_of(begin) >= bordered_min);
      return;
    }
    if (!gathered_.empty() && strip_.x_of(begin) - strip_.x_of(gathered_.end) >= narrowest) {
      draw_gathered();
    }
    gather(parts.first);
    if (parts.second) {
      gather(*parts.second);
    }
    if (strip_.x_of(gathered_.end) - strip_.x_of(gathered_.begin) >= narrowest) {
      draw_gathered();
    }
  }

  [[nodiscard]] std::vector<Cell> take() {
    draw_gathered();
    return std::move(cells_);
  }

 private:
  void gather(Part part) {
    part.begin = std::max(part.begin, strip_.from);
    part.end = std::min(part.end, strip_.to);
    if (part.begin < part.end) {
      gathered_.add(part, look_.style.palette(part.chunk).fill(part.op.kind));
    }
  }

  void draw_gathered() {
    if (gathered_.empty()) {
      return;
    }
    const Length x = strip_.x_of(gathered_.begin);
    const Length width = strip_.x_of(gathered_.end) - x;
    const std::optional<Colour> colour = gathered_.colour();
    if (colour && width > 0) {
      cells_.push_back(
          {.y = strip_.top,
           .height = strip_.height,
           .fills = {{.x = x, .width = width, .colour = *colour, .text = {}, .label = {}}},
           .bordered = false,
           .title = {}});
    }
    gathered_ = {};
  }

  void draw(const Span& span, const Parts& parts, bool bordered) {
    Cell cell{
        .y = strip_.top, .height = strip_.height, .fills = {}, .bordered = bordered, .title = {}};
    add_fill(cell, parts.first);
    if (parts.second) {
      add_fill(cell, *parts.second);
    }
    if (look_.titles) {
      cell.title = title_of(span, strip_);
    }
    cells_.push_back(std::move(cell));
  }

  void add_fill(Cell& cell, const Part& part) const {
    const Length x = strip_.x_of(std::max(part.begin, strip_.from));
    const Length width = strip_.x_of(std::min(part.end, strip_.to)) - x;
    if (width > 0) {
      const Palette& palette = look_.style.palette(part.chunk);
      cell.fills.push_back({.x = x,
                            .width = width,
                            .colour = palette.fill(part.op.kind),
                            .text = palette.text,
                            .label = label_of(part, look_)});
    }
  }

  const PartSplitter& splitter_;
  const Strip& strip_;
  const Look& look_;
  Gathered gathered_;
  std::vector<Cell> cells_;
};

// The largest size at which the widest label of all, `width` at a size of one point, fits a fill.
Length fitting_size(const Fill& fill, Length width) {
  return (fill.width - label_margin) * point / width;
}

}  // namespace

Length Strip::x_of(Time time) const {
  const double share =
      static_cast<double>((time - from).count()) / static_cast<double>((to - from).count());
  return left + static_cast<Length>(std::lround(share * static_cast<double>(right - left)));
}

std::vector<Cell> cells_of(std::span<const Span> spans, const PartSplitter& splitter,
                           const Strip& strip, const Look& look) {
  Row row(splitter, strip, look);
  for (const Span& span : spans) {
    row.add(span);
  }
  return row.take();
}

Length fit_labels(std::span<Cell> cells, Length size_max) {
  Length widest = 0;
  for (const Cell& cell : cells) {
    for (const Fill& fill : cell.fills) {
      widest = std::max(widest, text_width(fill.label, point));
    }
  }
  std::vector<Length> sizes;
  for (const Cell& cell : cells) {
    for (const Fill& fill : cell.fills) {
      if (!fill.label.empty() && fitting_size(fill, widest) >= label_size_min) {
        sizes.push_back(fitting_size(fill, widest));
      }
    }
  }
  Length size = size_max;
  if (!sizes.empty()) {
    const auto tenth = sizes.begin() + static_cast<std::ptrdiff_t>(sizes.size() / 10);
    std::nth_element(sizes.begin(), tenth, sizes.end());
    // A little smaller, for boxes of equal duration come out a little apart in width when their
    // ends are rounded, and should be labelled alike.
    size = std::clamp(*tenth - *tenth / 20, label_size_min, size_max);
  }
  for (Cell& cell : cells) {
    for (Fill& fill : cell.fills) {
      if (!fill.label.empty() && fitting_size(fill, widest) < size) {
        fill.label.clear();
      }
    }
  }
  return size;
}

}  // namespace dualpipe
