#include "render/chunk.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "costs/cost_model.h"
#include "costs/overlap.h"
#include "render/drawing.h"
#include "render/figure.h"
#include "render/style.h"
#include "render/table.h"
#include "render/units.h"

namespace dualpipe {
namespace {

constexpr Length margin = point;
constexpr Length text_size = 750;
constexpr Length label_size = 600;
constexpr Length row_height = 2000;
constexpr Colour boundary_colour{0xc8c8c8};

struct Lane {
  std::string_view name;
  const std::vector<ChunkSpan>& spans;
};

std::array<Lane, 2> lanes_of(const OverlappedChunks& chunk) {
  return {{{"compute", chunk.compute}, {"communication", chunk.communication}}};
}

enum class Phase : std::uint8_t { forward, input, weight, boundary };

Phase phase_of(ChunkPiece piece) {
  switch (piece) {
    case ChunkPiece::attention_forward:
    case ChunkPiece::dispatch_forward:
    case ChunkPiece::mlp_forward:
    case ChunkPiece::combine_forward:
      return Phase::forward;
    case ChunkPiece::attention_weight:
    case ChunkPiece::mlp_weight:
      return Phase::weight;
    case ChunkPiece::boundary:
      return Phase::boundary;
    default:
      return Phase::input;
  }
}

Colour colour_of(ChunkPiece piece, const Palette& palette) {
  switch (phase_of(piece)) {
    case Phase::forward:
      return palette.forward;
    case Phase::input:
      return palette.backward_input;
    case Phase::weight:
      return palette.backward_weight;
    case Phase::boundary:
      break;
  }
  return boundary_colour;
}

Time busy(const std::vector<ChunkSpan>& spans) {
  Time sum{};
  for (const ChunkSpan& span : spans) {
    sum += span.end - span.begin;
  }
  return sum;
}

std::string busy_words(const Lane& lane, Time makespan) {
  const double share = makespan == Time{} ? 0.0
                                          : static_cast<double>(busy(lane.spans).count()) /
                                                static_cast<double>(makespan.count());
  return fmt::format("{} {} ({})", lane.name, format_time(busy(lane.spans)), format_percent(share));
}

std::string words(const ChunkSpan& span) {
  return fmt::format("{} of layer {}, {} to {}", name_of(span.piece), span.layer,
                     format_time(span.begin), format_time(span.end));
}

class ChunkPage {
 public:
  ChunkPage(const OverlappedChunks& chunk, const FigureOptions& options)
      : style_(find_style(options.style)), makespan_(std::max(chunk.makespan, Time(1))) {
    drawing_.width = width_of(options);
    drawing_.hairline = 35;
    drawing_.label_size = label_size;
    left_ = margin + text_width("communication", text_size) * 115 / 100 + text_size / 2;  // bold
    right_ = drawing_.width - margin;
  }

  void add_caption(const std::string& caption) {
    drawing_.title = caption;
    y_ += text_size;
    drawing_.texts.push_back({.x = left_, .y = y_, .size = text_size, .content = caption});
    y_ += text_size / 2;
  }

  void add_lane(const Lane& lane) {
    for (const ChunkSpan& span : lane.spans) {
      const Length begin = x_of(span.begin);
      const Length width = std::max<Length>(x_of(span.end) - begin, 1);
      std::string label(name_of(span.piece));
      if (text_width(label, label_size) > width) {
        label.clear();
      }
      drawing_.cells.push_back({.y = y_,
                                .height = row_height,
                                .fills = {{.x = begin,
                                           .width = width,
                                           .colour = colour_of(span.piece, style_.first_chunk),
                                           .text = style_.first_chunk.text,
                                           .label = std::move(label)}},
                                .bordered = width > 3 * drawing_.hairline,
                                .title = words(span)});
    }
    drawing_.texts.push_back({.x = left_ - text_size / 2,
                              .y = centred_baseline(y_ + row_height / 2, text_size),
                              .size = text_size,
                              .anchor = Anchor::end,
                              .bold = true,
                              .content = std::string(lane.name)});
    drawing_.frames.push_back({.x = left_, .y = y_, .width = right_ - left_, .height = row_height});
    y_ += row_height;
  }

  void add_axis() {
    y_ += text_size * 5 / 4;
    drawing_.texts.push_back({.x = left_, .y = y_, .size = text_size, .content = "0"});
    drawing_.texts.push_back({.x = right_,
                              .y = y_,
                              .size = text_size,
                              .anchor = Anchor::end,
                              .content = format_time(makespan_)});
  }

  void add_legend() {
    const Palette& palette = style_.first_chunk;
    const std::array<std::pair<std::string_view, Colour>, 4> entries{
        {{"Forward", palette.forward},
         {"Backward for input", palette.backward_input},
         {"Backward for weights", palette.backward_weight},
         {"To and from other stages", boundary_colour}}};
    y_ += text_size;
    Length x = left_;
    for (const auto& [text, colour] : entries) {
      drawing_.cells.push_back(
          {.y = y_,
           .height = text_size,
           .fills = {{.x = x, .width = text_size, .colour = colour, .text = {}, .label = {}}},
           .title = {}});
      x += text_size * 3 / 2;
      drawing_.texts.push_back({.x = x,
                                .y = centred_baseline(y_ + text_size / 2, text_size),
                                .size = text_size,
                                .content = std::string(text)});
      x += text_width(text, text_size) + 2 * text_size;
    }
    y_ += text_size + margin;
    drawing_.height = y_;
  }

  [[nodiscard]] Drawing take() { return std::move(drawing_); }

 private:
  [[nodiscard]] Length x_of(Time time) const {
    return left_ + static_cast<Length>(std::llround(static_cast<double>(time.count()) /
                                                    static_cast<double>(makespan_.count()) *
                                                    (right_ - left_)));
  }

  const Style& style_;
  Time makespan_;
  Drawing drawing_{};
  Length left_ = 0;
  Length right_ = 0;
  Length y_ = margin;
};

}  // namespace

Drawing draw_chunk(const OverlappedChunks& chunk, std::string_view caption,
                   const FigureOptions& options) {
  ChunkPage page(chunk, options);
  std::string text(caption);
  for (const Lane& lane : lanes_of(chunk)) {
    text += "; " + busy_words(lane, chunk.makespan);
  }
  page.add_caption(text);
  for (const Lane& lane : lanes_of(chunk)) {
    page.add_lane(lane);
  }
  page.add_axis();
  page.add_legend();
  return page.take();
}

std::string chunk_table(const OverlappedChunks& chunk, std::string_view caption) {
  struct Row {
    std::string_view lane;
    ChunkSpan span;
  };
  std::vector<Row> rows;
  std::string text = fmt::format("{}: {}", caption, format_time(chunk.makespan));
  for (const Lane& lane : lanes_of(chunk)) {
    text += "; " + busy_words(lane, chunk.makespan);
    for (const ChunkSpan& span : lane.spans) {
      rows.push_back({lane.name, span});
    }
  }
  std::ranges::stable_sort(rows, {},
                           [](const Row& row) { return std::tuple(row.span.begin, row.span.end); });
  const TimeUnit unit = unit_of(chunk.makespan);
  std::vector<std::vector<std::string>> cells;
  for (const auto& [lane, span] : rows) {
    cells.push_back({std::string(lane), std::string(name_of(span.piece)),
                     std::to_string(span.layer), format_time_in(span.begin, unit),
                     format_time_in(span.end, unit)});
  }
  const std::vector<Column> columns{{"lane", Align::left},
                                    {"piece", Align::left},
                                    {"layer"},
                                    {fmt::format("begin ({})", unit.name)},
                                    {fmt::format("end ({})", unit.name)}};
  return text + "\n\n" + format_table(columns, cells);
}

}  // namespace dualpipe
