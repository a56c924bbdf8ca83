#include "render/svg.h"

#include <cstddef>
#include <iterator>
#include <span>
#include <string>
#include <string_view>

#include <fmt/core.h>

#include "render/drawing.h"
#include "render/figure.h"
#include "render/style.h"
#include "render/units.h"
#include "trace/timeline.h"

namespace dualpipe {
namespace {

constexpr std::string_view font_family =
    "Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif";
constexpr Colour black{0x000000};

// A coordinate in points.
std::string points(Length length) {
  return format_scaled(length, point);
}

// The length of the well-formed UTF-8 character that `text` begins with, if XML allows it; else 0.
std::size_t xml_character(std::string_view text) {
  const auto byte = [&](std::size_t index) {
    return static_cast<unsigned>(static_cast<unsigned char>(text[index]));
  };
  const unsigned lead = byte(0);
  if (lead < 0x80) {
    return lead >= 0x20 || lead == '\t' || lead == '\n' || lead == '\r' ? 1 : 0;
  }
  const std::size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < length) {
    return 0;
  }
  unsigned code = lead & (0x7fU >> length);
  for (std::size_t index = 1; index < length; ++index) {
    if ((byte(index) & 0xc0U) != 0x80U) {
      return 0;
    }
    code = code << 6U | (byte(index) & 0x3fU);
  }
  const bool overlong = (length == 3 && code < 0x800) || (length == 4 && code < 0x10000);
  const bool surrogate = code >= 0xd800 && code <= 0xdfff;
  const bool allowed = code <= 0x10ffff && code != 0xfffe && code != 0xffff;
  return overlong || surrogate || !allowed ? 0 : length;
}

// What XML cannot hold, even escaped, becomes the replacement character, one for each byte.
std::string escaped(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const std::size_t length = xml_character(text);
    if (length == 0) {
      out += "\xef\xbf\xbd";
    } else if (text.front() == '&') {
      out += "&amp;";
    } else if (text.front() == '<') {
      out += "&lt;";
    } else if (text.front() == '>') {
      out += "&gt;";
    } else if (text.front() == '"') {
      out += "&quot;";
    } else {
      out += text.substr(0, length);
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return out;
}

struct Rectangle {
  Length x = 0;
  Length y = 0;
  Length width = 0;
  Length height = 0;
};

// An open tag's name and place; the caller adds attributes and closes it.
std::string rectangle(const Rectangle& place) {
  return fmt::format(R"(<rect x="{}" y="{}" width="{}" height="{}")", points(place.x),
                     points(place.y), points(place.width), points(place.height));
}

void write_cell(std::string& out, const Cell& cell) {
  const std::string title =
      cell.title.empty() ? "" : fmt::format("<title>{}</title>", escaped(cell.title));
  const bool grouped = cell.fills.size() > 1 || !title.empty();
  if (grouped) {
    out += "<g>" + title;
  }
  const bool apart = cell.fills.size() > 1 || !cell.bordered;  // no border around each fill
  for (const Fill& fill : cell.fills) {
    out += rectangle({.x = fill.x, .y = cell.y, .width = fill.width, .height = cell.height});
    fmt::format_to(std::back_inserter(out), R"( fill="{}"{}/>)", to_string(fill.colour),
                   apart ? R"( stroke="none")" : "");
  }
  if (cell.bordered && apart) {
    const Fill& last = cell.fills.back();
    const Length x = cell.fills.front().x;
    out +=
        rectangle({.x = x, .y = cell.y, .width = last.x + last.width - x, .height = cell.height});
    out += R"( fill="none"/>)";
  }
  out += grouped ? "</g>\n" : "\n";
}

void write_label(std::string& out, const Cell& cell, const Fill& fill, Length size) {
  const Length middle = fill.x + fill.width / 2;
  const Length baseline = centred_baseline(cell.y + cell.height / 2, size);
  const std::string colour =
      fill.text == black ? "" : fmt::format(R"( fill="{}")", to_string(fill.text));
  fmt::format_to(std::back_inserter(out), R"(<text x="{}" y="{}"{}>{}</text>)", points(middle),
                 points(baseline), colour, escaped(fill.label));
  out += '\n';
}

void write_line(std::string& out, const Line& line) {
  fmt::format_to(std::back_inserter(out), R"(<line x1="{}" y1="{}" x2="{}" y2="{}"/>)",
                 points(line.x_begin), points(line.y_begin), points(line.x_end),
                 points(line.y_end));
  out += '\n';
  if (line.arrow) {
    // A shape of its own rather than a marker, which not every converter draws.
    constexpr Length length = 4 * point;
    constexpr Length half = 3 * point / 2;
    const Length tail = line.x_end - length;
    fmt::format_to(std::back_inserter(out), R"(<path d="M{0} {1}L{2} {3}L{2} {4}Z"/>)",
                   points(line.x_end), points(line.y_end), points(tail), points(line.y_end - half),
                   points(line.y_end + half));
    out += '\n';
  }
}

void write_text(std::string& out, const Text& text) {
  std::string_view anchor;
  if (text.anchor != Anchor::start) {
    anchor = text.anchor == Anchor::middle ? R"( text-anchor="middle")" : R"( text-anchor="end")";
  }
  fmt::format_to(std::back_inserter(out), R"(<text x="{}" y="{}" font-size="{}"{}{}>{}</text>)",
                 points(text.x), points(text.y), points(text.size), anchor,
                 text.bold ? R"( font-weight="bold")" : "", escaped(text.content));
  out += '\n';
}

std::string write(const Drawing& drawing) {
  const std::string width = points(drawing.width);
  const std::string height = points(drawing.height);
  const std::string stroke =
      fmt::format(R"(stroke="#000" stroke-width="{}")", points(drawing.hairline));
  std::string out =
      fmt::format(R"(<svg xmlns="http://www.w3.org/2000/svg" width="{0}pt" height="{1}pt" )"
                  R"(viewBox="0 0 {0} {1}" font-family="{2}">)",
                  width, height, font_family);
  fmt::format_to(std::back_inserter(out),
                 "\n<title>{}</title>\n<rect width=\"{}\" height=\"{}\" fill=\"#fff\"/>\n",
                 escaped(drawing.title), width, height);
  out += "<g " + stroke + ">\n";
  for (const Cell& cell : drawing.cells) {
    write_cell(out, cell);
  }
  for (const Line& line : drawing.lines) {
    write_line(out, line);
  }
  for (const Frame& frame : drawing.frames) {
    out += rectangle({.x = frame.x, .y = frame.y, .width = frame.width, .height = frame.height});
    out += " fill=\"none\"/>\n";
  }
  fmt::format_to(std::back_inserter(out),
                 "</g>\n<g font-size=\"{}\" text-anchor=\"middle\" pointer-events=\"none\">\n",
                 points(drawing.label_size));
  for (const Cell& cell : drawing.cells) {
    for (const Fill& fill : cell.fills) {
      if (!fill.label.empty()) {
        write_label(out, cell, fill, drawing.label_size);
      }
    }
  }
  out += "</g>\n";
  for (const Text& text : drawing.texts) {
    write_text(out, text);
  }
  return out + "</svg>\n";
}

}  // namespace

std::string to_svg(const Timeline& timeline, const SvgOptions& options) {
  const Panel panel{.timeline = timeline, .caption = {}};
  return to_svg(std::span(&panel, 1), options);
}

std::string to_svg(std::span<const Panel> panels, const SvgOptions& options) {
  return to_svg(draw(panels, options));
}

std::string to_svg(const Drawing& drawing) {
  return write(drawing);
}

}  // namespace dualpipe
