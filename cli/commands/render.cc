// dualpipe-sim render: a schedule or timeline as a picture.

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/config.h"
#include "cli/subject.h"
#include "costs/derive.h"
#include "costs/error.h"
#include "costs/overlap.h"
#include "render/chunk.h"
#include "render/figure.h"
#include "render/svg.h"
#include "render/terminal.h"
#include "scheduler/file.h"
#include "trace/timeline.h"

namespace dualpipe {
namespace {

std::string format_of(const RenderOptions& options) {
  if (!options.format.empty()) {
    return options.format;
  }
  if (options.output == "-") {
    return "text";
  }
  const std::string extension = std::filesystem::path(options.output).extension();
  if (extension == ".svg") {
    return "svg";
  }
  if (extension == ".txt") {
    return "text";
  }
  throw Error(ExitCode::usage,
              fmt::format("cannot tell the format of '{}': expected a name ending in .svg or .txt, "
                          "or --format svg|text",
                          options.output));
}

// As wide as the terminal; 120 columns where stdout is none.
int terminal_columns() {
  constexpr int default_columns = 120;
  winsize size{};
  // The request code lives in a header that is not for inclusion.
  // NOLINTNEXTLINE(misc-include-cleaner)
  const bool known = ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  return known ? size.ws_col : default_columns;
}

std::string as_svg(const std::vector<Timeline>& timelines, const RenderOptions& options) {
  SvgOptions svg;
  svg.style = options.style;
  svg.width_inches = options.width_inches;
  svg.number_reverse = options.number_reverse;
  svg.ticks = options.ticks;
  std::vector<Panel> panels;
  for (std::size_t index = 0; index < timelines.size(); ++index) {
    panels.push_back({.timeline = timelines[index],
                      .caption = timelines.size() > 1 ? options.subjects[index] : ""});
  }
  return to_svg(panels, svg);
}

std::string as_text(const std::vector<Timeline>& timelines, const RenderOptions& options) {
  TerminalOptions terminal;
  terminal.colour = options.colour;
  terminal.columns = terminal_columns();
  terminal.style = options.style;
  std::string text;
  for (std::size_t index = 0; index < timelines.size(); ++index) {
    if (timelines.size() > 1) {
      text += options.subjects[index] + "\n";
    }
    text += to_terminal(timelines[index], terminal);
  }
  return text;
}

ExitCode render_chunk(const RenderOptions& options, const std::string& format, const Config& config,
                      const std::string& subject) {
  if (!config.has_model()) {
    throw Error(ExitCode::usage,
                "--chunk: expected a config with a [model], of which the pieces are those; found "
                "none; write for example --config configs/deepseek_v3_h800.toml");
  }
  SubjectOptions one = options.subject;
  one.subject = subject;
  const DerivedCosts derived = derived_costs(placement_of(one, config), config);
  const int stages = static_cast<int>(derived.stages.size());
  const int stage = options.chunk.value_or(0);
  if (stage < 0 || stage >= stages) {
    throw Error(ExitCode::usage,
                fmt::format("--chunk: expected a stage from 0 to {}; found {}", stages - 1, stage));
  }
  const OverlappedChunks& chunk = derived.stages[static_cast<std::size_t>(stage)].overlapped;
  const std::string caption = fmt::format("{}, stage {}", config.model.name, stage);
  SvgOptions svg;
  svg.style = options.style;
  svg.width_inches = options.width_inches;
  write_file(options.output, format == "svg" ? to_svg(draw_chunk(chunk, caption, svg))
                                             : chunk_table(chunk, caption));
  return ExitCode::ok;
}

}  // namespace

ExitCode run_render(const RenderOptions& options) {
  const std::string format = format_of(options);
  const Config config = resolve_config(options.subject);
  std::vector<std::string> subjects = options.subjects;
  if (subjects.empty()) {
    subjects.push_back(config.pipeline.schedule);
  }
  if (options.chunk) {
    return render_chunk(options, format, config, subjects.front());
  }
  std::vector<Timeline> timelines;
  for (const std::string& subject : subjects) {
    SubjectOptions one = options.subject;
    one.subject = subject;
    timelines.push_back(load_timeline(one, config));
  }
  write_file(options.output,
             format == "svg" ? as_svg(timelines, options) : as_text(timelines, options));
  return ExitCode::ok;
}

}  // namespace dualpipe
