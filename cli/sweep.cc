#include "cli/sweep.h"

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <fmt/format.h>

#include "cli/config.h"
#include "cli/subject.h"
#include "cli/vary.h"
#include "costs/check.h"
#include "costs/error.h"
#include "scheduler/generate.h"
#include "scheduler/program.h"
#include "trace/metrics.h"

namespace dualpipe {
namespace {

constexpr std::string_view figures =
    "step_time,longest_rank_time,bubble_ratio,peak_activations,peak_bytes,error";
constexpr std::size_t figure_columns = 5;  // without the error

// One field of a CSV (RFC 4180), on one line.
std::string field(std::string_view text) {
  std::string line(text);
  std::ranges::replace_if(line, [](char letter) { return letter == '\n' || letter == '\r'; }, ' ');
  if (line.find_first_of(",\"") == std::string::npos) {
    return line;
  }
  std::string quoted = "\"";
  for (const char letter : line) {
    quoted += letter == '"' ? "\"\"" : std::string(1, letter);
  }
  return quoted + "\"";
}

// The options that are shorter ways to set a key give way to the key itself; those of the shape
// take its value, because a file may contradict them.
void set(SubjectOptions& options, const std::string& key, std::string_view value) {
  const auto shape = [&](std::optional<int>& option) {
    int number = 0;
    const std::from_chars_result read =
        std::from_chars(value.data(), value.data() + value.size(), number);
    CHECK(read.ec == std::errc{});  // parse_axis() has tried it
    option = number;
  };
  if (key == "pipeline.ranks") {
    shape(options.ranks);
  } else if (key == "pipeline.microbatches") {
    shape(options.microbatches);
  } else if (key == "pipeline.chunks") {
    shape(options.chunks);
  } else if (key == "pipeline.schedule") {
    options.subject = value;
  } else {
    if (key == "pipeline.memory_limit") {
      options.memory_limit.reset();
    } else if (key == "pipeline.forward_only") {
      options.forward_only = false;
    }
    options.sets.push_back(fmt::format("{}={}", key, value));
  }
}

std::string figures_of(const SubjectOptions& options) {
  const Config config = resolve_config(options);
  const Program program = compile_subject(load_subject(options, config), config);
  const Metrics metrics = measure(predict(program, config, {.transfers = false}));
  int activations = 0;
  std::int64_t bytes = 0;
  for (const RankMetrics& rank : metrics.ranks) {
    activations = std::max(activations, rank.peak_activations);
    bytes = std::max(bytes, rank.peak_memory.total());
  }
  return fmt::format("{},{},{},{},{},\n", metrics.step_time.count(),
                     metrics.longest_rank_time.count(), metrics.bubble_ratio, activations, bytes);
}

[[noreturn]] void refuse_to_resume(const std::string& path, std::size_t line,
                                   std::string_view expected, std::string_view found) {
  throw Error(ExitCode::usage,
              fmt::format("{}:{}: cannot resume: expected '{}', found '{}'; give the options of "
                          "the sweep that wrote it, or leave --resume out to begin anew",
                          path, line, expected, found));
}

}  // namespace

std::string Sweep::header() const {
  std::string line;
  for (const Axis& axis : axes) {
    line += axis.name + ",";
  }
  return line + std::string(figures) + "\n";
}

std::string Sweep::keys(std::size_t point) const {
  std::string line;
  for (const std::string_view value : point_of(axes, point)) {
    line += field(value) + ",";
  }
  return line;
}

std::string Sweep::row(std::size_t point) const {
  SubjectOptions options = subject;
  const std::vector<std::string_view> values = point_of(axes, point);
  for (std::size_t axis = 0; axis < axes.size(); ++axis) {
    set(options, axes[axis].key->dotted(), values[axis]);
  }
  try {
    return keys(point) + figures_of(options);
  } catch (const Error& error) {  // Part of the answer: this point is not possible.
    return keys(point) + std::string(figure_columns, ',') + field(error.what()) + "\n";
  }
}

Sweep make_sweep(const SubjectOptions& subject, const std::vector<std::string>& schedules,
                 const std::vector<std::string>& varied) {
  Sweep sweep{.subject = subject, .axes = {}};
  if (!schedules.empty()) {
    sweep.axes.push_back(parse_axis(fmt::format("schedule={}", fmt::join(schedules, ","))));
  }
  for (const std::string& text : varied) {
    sweep.axes.push_back(parse_axis(text));
    const ConfigKey* key = sweep.axes.back().key;
    const auto same = [&](const Axis& axis) { return axis.key == key; };
    if (std::ranges::count_if(sweep.axes, same) > 1) {
      throw Error(ExitCode::usage,
                  fmt::format("--vary {}: expected every key once, found {} twice; give all its "
                              "values in one place",
                              text, key->dotted()));
    }
  }
  if (sweep.axes.empty()) {
    throw Error(ExitCode::usage,
                "expected something to vary, found none; write for example --vary ranks=4,8,16");
  }
  for (const Axis& axis : sweep.axes) {
    if (axis.key->dotted() != "pipeline.schedule") {
      continue;
    }
    for (const std::string& name : axis.values) {
      if (!names_file(name)) {
        static_cast<void>(find_family(name));  // A misspelt name is a mistake, not an answer.
      }
    }
  }
  sweep.points = count_points(sweep.axes);
  return sweep;
}

std::size_t count_rows(const Sweep& sweep, std::string_view text, const std::string& path,
                       std::size_t& bytes) {
  bytes = 0;
  std::size_t lines = 0;
  std::string_view last;
  for (std::size_t end = text.find('\n'); end != std::string_view::npos;
       end = text.find('\n', bytes)) {
    const std::string_view line = text.substr(bytes, end + 1 - bytes);
    const std::string_view shown = line.substr(0, line.size() - 1);
    if (lines == 0 && line != sweep.header()) {
      const std::string header = sweep.header();
      refuse_to_resume(path, 1, std::string_view(header).substr(0, header.size() - 1), shown);
    }
    if (lines > sweep.points) {
      refuse_to_resume(path, lines + 1, "no more rows", shown);
    }
    if (lines > 0) {
      const std::string keys = sweep.keys(lines - 1);
      if (!line.starts_with(keys)) {
        refuse_to_resume(path, lines + 1, keys + "..", shown);
      }
      last = line;
    }
    ++lines;
    bytes = end + 1;
  }
  if (lines < 2) {
    return 0;
  }
  const std::string expected = sweep.row(lines - 2);
  if (last != expected) {
    refuse_to_resume(path, lines, std::string_view(expected).substr(0, expected.size() - 1),
                     last.substr(0, last.size() - 1));
  }
  return lines - 1;
}

}  // namespace dualpipe
