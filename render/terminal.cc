#include "render/terminal.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/core.h>

#include "costs/cost_model.h"
#include "costs/error.h"
#include "render/part.h"
#include "render/style.h"
#include "render/units.h"
#include "scheduler/op.h"
#include "trace/metrics.h"
#include "trace/timeline.h"

namespace dualpipe {
namespace {

constexpr int blocks_max = 4;
constexpr int unit_columns_max = 4;  // wider boxes say no more: "F12-"
constexpr int grid_min = 20;         // columns; holds two times side by side
constexpr std::string_view bubble_header = " bubble";
constexpr std::string_view reset = "\x1b[0m";

struct Colours {
  Colour fill;
  Colour text;

  bool operator==(const Colours&) const = default;
};

struct Glyph {
  char character = ' ';
  std::optional<Colours> colours;
};

// By an eighth.
Colour darker(Colour colour) {
  const auto dim = [](unsigned part) { return part - part / 8; };
  return {dim(colour.red()) << 16U | dim(colour.green()) << 8U | dim(colour.blue())};
}

using Glyphs = std::vector<Glyph>;

// The columns of all blocks, one after another.
struct Grid {
  Time from{};
  Time length{};
  int width = 0;
  int block = grid_min;  // columns in one block

  [[nodiscard]] std::size_t column_of(Time time) const {
    const double share =
        static_cast<double>((time - from).count()) / static_cast<double>(length.count());
    return static_cast<std::size_t>(std::lround(share * width));
  }
  [[nodiscard]] Time time_of(int column) const {
    const double share = static_cast<double>(column) / static_cast<double>(width);
    return from + Time(std::llround(share * static_cast<double>(length.count())));
  }
};

std::vector<Time> durations_of(const Timeline& timeline) {
  std::vector<Time> durations;
  for (const std::vector<Span>& spans : timeline.ranks) {
    for (const Span& span : spans) {
      durations.push_back(span.duration());
    }
  }
  return durations;
}

// The longest time of which every begin and end is a multiple, counted from `from`.
Time common_unit(const Timeline& timeline, Time from) {
  std::int64_t unit = 0;
  for (const std::vector<Span>& spans : timeline.ranks) {
    for (const Span& span : spans) {
      unit = std::gcd(unit, (span.begin - from).count());
      unit = std::gcd(unit, (span.end - from).count());
    }
  }
  return Time(unit);
}

// The columns of a timeline without a unit that fits: about one for the typical slot.
int scaled_width(const Timeline& timeline, Time length, int available) {
  std::vector<Time> durations = durations_of(timeline);
  const auto median = durations.begin() + static_cast<std::ptrdiff_t>(durations.size() / 2);
  std::nth_element(durations.begin(), median, durations.end());
  const std::int64_t wanted = length / std::max(*median, Time(1));
  const std::int64_t blocks = (wanted + available - 1) / available;
  return available * static_cast<int>(std::clamp<std::int64_t>(blocks, 1, blocks_max));
}

Grid choose_grid(const Timeline& timeline, int available) {
  Grid grid{.length = makespan(timeline), .block = available};
  if (grid.length == Time{}) {
    return grid;
  }
  std::optional<Time> from;
  for (const std::vector<Span>& spans : timeline.ranks) {
    if (!spans.empty()) {
      from = std::min(from.value_or(spans.front().begin), spans.front().begin);
    }
  }
  grid.from = from.value_or(Time{});
  const std::int64_t units = grid.length / common_unit(timeline, grid.from);
  if (units <= available) {
    const int count = static_cast<int>(units);
    grid.width = count * std::min(available / count, unit_columns_max);
  } else if (units <= std::int64_t{blocks_max} * available) {
    grid.width = static_cast<int>(units);
  } else {
    grid.width = scaled_width(timeline, grid.length, available);
  }
  return grid;
}

// The text of one box, exactly `width` wide.
std::string box_text(const Part& part, bool pair, const TerminalOptions& options,
                     std::size_t width) {
  const std::string number = std::to_string(part.op.microbatch);
  if (options.colour) {
    const std::string shown = number.size() <= width ? number : "";
    return fmt::format("{:^{}}", shown, width);
  }
  const char letter = static_cast<char>(part.op.kind);
  std::string text(1, pair ? static_cast<char>(std::tolower(letter)) : letter);
  if (text.size() + number.size() <= width) {
    text += number;
  }
  text.resize(width, '-');
  return text;
}

class Painter {
 public:
  Painter(const Timeline& timeline, const TerminalOptions& options, const Grid& grid)
      : options_(options), style_(find_style(options.style)), grid_(grid), splitter_(timeline) {}

  [[nodiscard]] Glyphs row(const std::vector<Span>& spans) const {
    Glyphs glyphs(static_cast<std::size_t>(grid_.width),
                  Glyph{.character = options_.colour ? ' ' : '.', .colours = {}});
    for (const Span& span : spans) {
      const Parts parts = splitter_.split(span);
      paint(glyphs, parts.first, span.slot.is_pair());
      if (parts.second) {
        paint(glyphs, *parts.second, true);
      }
    }
    return glyphs;
  }

 private:
  void paint(Glyphs& glyphs, const Part& part, bool pair) const {
    if (part.begin == part.end) {
      return;
    }
    const std::size_t begin = grid_.column_of(part.begin);
    const std::size_t end = grid_.column_of(part.end);
    if (begin == end) {
      return;
    }
    const std::string text = box_text(part, pair, options_, end - begin);
    const Colours colours = colours_of(part, begin == 0 ? Glyph{} : glyphs.at(begin - 1));
    for (std::size_t column = begin; column < end; ++column) {
      Glyph& glyph = glyphs.at(column);
      glyph.character = text.at(column - begin);
      if (options_.colour) {
        glyph.colours = colours;
      }
    }
  }

  // A shade darker beside a box of the same colour: there are no borders to tell the two apart.
  [[nodiscard]] Colours colours_of(const Part& part, const Glyph& before) const {
    const Palette& palette = style_.palette(part.chunk);
    const Colour fill = palette.fill(part.op.kind);
    const bool touches = before.colours && before.colours->fill == fill;
    return {.fill = touches ? darker(fill) : fill, .text = palette.text};
  }

  const TerminalOptions& options_;
  const Style& style_;
  const Grid& grid_;
  PartSplitter splitter_;
};

void append(std::string& out, const Glyphs& glyphs, std::size_t begin, std::size_t end) {
  std::optional<Colours> colours;
  for (std::size_t column = begin; column < end; ++column) {
    const Glyph& glyph = glyphs[column];
    if (glyph.colours != colours) {
      colours = glyph.colours;
      out += colours ? fmt::format("\x1b[48;2;{};{};{};38;2;{};{};{}m", colours->fill.red(),
                                   colours->fill.green(), colours->fill.blue(), colours->text.red(),
                                   colours->text.green(), colours->text.blue())
                     : std::string(reset);
    }
    out += glyph.character;
  }
  out += colours ? reset : "";
}

struct LegendEntry {
  Glyphs swatch;
  std::string_view text;

  [[nodiscard]] std::size_t width() const { return swatch.size() + 1 + text.size(); }
};

std::vector<LegendEntry> legend_entries(const Timeline& timeline, const TerminalOptions& options) {
  const Palette& palette = find_style(options.style).first_chunk;
  const auto glyph = [&](OpKind kind, char letter) {
    return options.colour
               ? Glyph{.character = ' ',
                       .colours = Colours{.fill = palette.fill(kind), .text = palette.text}}
               : Glyph{.character = letter, .colours = {}};
  };
  const Contents contents = contents_of(timeline);
  std::vector<LegendEntry> entries;
  for (const OpKind kind : contents.kinds) {
    const Glyph mark = glyph(kind, static_cast<char>(kind));
    const std::size_t marks = options.colour ? (kind == OpKind::backward ? 4 : 2) : 1;
    entries.push_back({.swatch = Glyphs(marks, mark), .text = legend_of(kind)});
  }
  if (contents.pairs) {
    entries.push_back({.swatch = {glyph(OpKind::forward, 'f'), glyph(OpKind::backward, 'b')},
                       .text = legend_of_pair});
  }
  if (!options.colour) {
    entries.push_back({.swatch = {{.character = '.', .colours = {}}}, .text = "idle"});
  }
  return entries;
}

// As many entries to a line as fit.
std::string legend(const std::vector<LegendEntry>& entries, std::size_t columns) {
  constexpr std::string_view gap = "   ";
  std::string out;
  std::size_t used = 0;
  for (const LegendEntry& entry : entries) {
    const bool first = used == 0;
    const bool fits = used + gap.size() + entry.width() <= columns;
    if (!first) {
      out += fits ? gap : "\n";
    }
    used = first || !fits ? entry.width() : used + gap.size() + entry.width();
    append(out, entry.swatch, 0, entry.swatch.size());
    out += ' ';
    out += entry.text;
  }
  return out + '\n';
}

std::string rank_label(int rank, int ranks) {
  return fmt::format("rank {:<{}} ", rank, std::to_string(ranks - 1).size());
}

// The times at both ends of a block, over its columns.
std::string ruler(const Grid& grid, std::pair<int, int> columns) {
  const TimeUnit unit = unit_of(grid.from + grid.length);
  const auto time = [&](int column) {
    return format_time_in(grid.width == 0 ? grid.from : grid.time_of(column), unit);
  };
  const std::string begin = time(columns.first);
  const std::string end = fmt::format("{} {}", time(columns.second), unit.name);
  const std::size_t width =
      static_cast<std::size_t>(std::max(columns.second - columns.first, grid_min));
  const bool both = begin.size() + 1 + end.size() <= width;
  return fmt::format("{}{:>{}}", both ? begin : "", end, both ? width - begin.size() : width);
}

}  // namespace

std::string to_terminal(const Timeline& timeline, const TerminalOptions& options) {
  const int ranks = static_cast<int>(timeline.ranks.size());
  const std::size_t label_width = rank_label(0, ranks).size();
  const int around = static_cast<int>(label_width + bubble_header.size());
  if (options.columns < around + grid_min) {
    throw Error(ExitCode::usage,
                fmt::format("{} columns are too few to draw a timeline of {} ranks: "
                            "expected at least {}",
                            options.columns, ranks, around + grid_min));
  }
  const Grid grid = choose_grid(timeline, options.columns - around);
  const Painter painter(timeline, options, grid);
  std::vector<Glyphs> rows;
  for (const std::vector<Span>& spans : timeline.ranks) {
    rows.push_back(painter.row(spans));
  }
  const Metrics metrics = measure(timeline);
  std::string out;
  int begin = 0;
  bool last = false;
  while (!last) {
    const int end = std::min(begin + grid.block, grid.width);
    last = end == grid.width;
    const int padding = last ? std::max(grid_min - (end - begin), 0) : 0;
    out += std::string(label_width, ' ') + ruler(grid, {begin, end});
    out += last ? bubble_header : "";
    out += '\n';
    for (int rank = 0; rank < ranks; ++rank) {
      const std::size_t row = static_cast<std::size_t>(rank);
      out += rank_label(rank, ranks);
      append(out, rows[row], static_cast<std::size_t>(begin), static_cast<std::size_t>(end));
      if (last) {
        out += std::string(static_cast<std::size_t>(padding), ' ');
        out += fmt::format("{:>{}}", format_percent(metrics.ranks[row].bubble_ratio),
                           bubble_header.size());
      }
      out += '\n';
    }
    out += '\n';
    begin = end;
  }
  return out + legend(legend_entries(timeline, options), static_cast<std::size_t>(options.columns));
}

}  // namespace dualpipe
