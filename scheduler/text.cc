#include "scheduler/text.h"

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "costs/error.h"
#include "scheduler/infer.h"
#include "scheduler/pipeline.h"
#include "scheduler/pipeline_json.h"
#include "scheduler/schedule.h"

namespace dualpipe {
namespace {

constexpr int number_max = JsonReader::integer_max;
constexpr std::string_view name_key = "name:";
constexpr std::string_view placement_key = "placement:";
constexpr std::string_view direction_key = "direction:";

[[noreturn]] void refuse(const std::string& where, const std::string& what) {
  throw Error(ExitCode::invalid_schedule, where + ": " + what);
}

void append_row(std::string& text, const std::vector<Slot>& slots, char separator) {
  for (std::size_t slot = 0; slot < slots.size(); ++slot) {
    if (slot > 0) {
      text += separator;
    }
    text += to_string(slots[slot]);
  }
}

// --- text and CSV ---

// A line of a file, and where it is.
struct Line {
  std::string_view text;
  std::string_view origin;
  std::size_t number = 0;

  [[nodiscard]] std::string place(std::size_t column) const {
    return fmt::format("{}:{}:{}", origin, number, column + 1);
  }
};

bool is_separator(char letter) {
  return letter == ',' || letter == ' ' || letter == '\t';
}

// Calls visit(word, column) for every word of the line.
template <typename Visit>
void for_each_word(std::string_view line, const Visit& visit) {
  std::size_t at = 0;
  while (at < line.size()) {
    if (is_separator(line[at])) {
      ++at;
      continue;
    }
    std::size_t end = at;
    while (end < line.size() && !is_separator(line[end])) {
      ++end;
    }
    visit(line.substr(at, end - at), at);
    at = end;
  }
}

int parse_count(const Line& line, std::string_view word, std::size_t column) {
  int value = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (error != std::errc{} || end != word.data() + word.size() || value < 0 || value > number_max) {
    refuse(line.place(column), fmt::format("expected a number from 0 to {}, found '{}'", number_max,
                                           word.substr(0, 40)));
  }
  return value;
}

std::vector<Slot> parse_row(const Line& line) {
  std::vector<Slot> slots;
  for_each_word(line.text, [&](std::string_view word, std::size_t column) {
    try {
      slots.push_back(parse_slot(word));
    } catch (const Error& error) {
      refuse(line.place(column), error.what());
    }
  });
  return slots;
}

// What the headers of the text form say.
struct Headers {
  std::size_t microbatches_max = 0;  // that a file of this size can have ops for
  std::optional<std::string> name;
  std::optional<std::vector<std::vector<int>>> rank_of_stage;
  std::optional<std::vector<int>> direction;
};

std::vector<std::vector<int>> parse_placement(const Line& line) {
  std::vector<std::vector<int>> rank_of_stage{{}};
  for_each_word(line.text.substr(placement_key.size()), [&](std::string_view word, std::size_t at) {
    if (word == "|") {
      rank_of_stage.emplace_back();
    } else {
      rank_of_stage.back().push_back(parse_count(line, word, placement_key.size() + at));
    }
  });
  return rank_of_stage;
}

// "0*6 1*6": six microbatches of direction 0, then six of direction 1.
std::vector<int> parse_direction(const Line& line, std::size_t microbatches_max) {
  std::vector<int> directions;
  for_each_word(line.text.substr(direction_key.size()), [&](std::string_view word, std::size_t at) {
    const std::size_t column = direction_key.size() + at;
    const std::size_t star = word.find('*');
    const int direction = parse_count(line, word.substr(0, star), column);
    const int times = star == std::string_view::npos
                          ? 1
                          : parse_count(line, word.substr(star + 1), column + star + 1);
    if (directions.size() + static_cast<std::size_t>(times) > microbatches_max) {
      refuse(line.place(column), fmt::format("more than {} microbatches; expected no more than a "
                                             "file of this size can have ops for",
                                             microbatches_max));
    }
    directions.insert(directions.end(), static_cast<std::size_t>(times), direction);
  });
  return directions;
}

std::string parse_name(const Line& line) {
  const std::size_t begin = name_key.size() + (line.text.substr(name_key.size()).starts_with(' '));
  std::string name(line.text.substr(begin));
  if (!is_name(name)) {
    refuse(line.place(begin), "expected a name in UTF-8 without control characters");
  }
  return name;
}

bool parse_header(const Line& line, Headers& headers) {
  const auto is_header = [&](std::string_view key, bool seen) {
    if (line.text.starts_with(key) && seen) {
      refuse(line.place(0), fmt::format("a second '{}' line; expected one", key));
    }
    return line.text.starts_with(key);
  };
  if (is_header(name_key, headers.name.has_value())) {
    headers.name = parse_name(line);
  } else if (is_header(placement_key, headers.rank_of_stage.has_value())) {
    headers.rank_of_stage = parse_placement(line);
  } else if (is_header(direction_key, headers.direction.has_value())) {
    headers.direction = parse_direction(line, headers.microbatches_max);
  } else {
    return false;
  }
  return true;
}

Schedule parse_lines(std::string_view text, const std::string& origin) {
  constexpr std::size_t always_affordable = 1'000'000;
  Headers headers{.microbatches_max = std::max(text.size(), always_affordable),
                  .name = {},
                  .rank_of_stage = {},
                  .direction = {}};
  Schedule schedule;
  std::size_t number = 0;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    Line line{.text = text.substr(0, end), .origin = origin, .number = ++number};
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.text.ends_with('\r')) {
      line.text.remove_suffix(1);
    }
    if (!schedule.ranks.empty() || !parse_header(line, headers)) {
      schedule.ranks.push_back(parse_row(line));
    }
  }
  if (headers.rank_of_stage && !headers.direction) {
    refuse(origin, "the placement line needs a direction line beside it, as in 'direction: 0*8'");
  }
  if (headers.direction && !headers.rank_of_stage) {
    refuse(origin, "the direction line needs a placement line beside it, as in 'placement: 0 1 2'");
  }
  if (!headers.rank_of_stage) {
    schedule.pipeline = infer_pipeline(schedule.ranks, origin);
  } else {
    schedule.pipeline.placement = {.ranks = static_cast<int>(schedule.ranks.size()),
                                   .rank_of_stage = std::move(*headers.rank_of_stage)};
    schedule.pipeline.direction = std::move(*headers.direction);
    schedule.pipeline.name = name_from_origin(origin);
  }
  if (headers.name) {
    schedule.pipeline.name = *headers.name;
  }
  return schedule;
}

std::string run_lengths(const std::vector<int>& direction) {
  std::string text;
  for (std::size_t at = 0; at < direction.size();) {
    std::size_t end = at;
    while (end < direction.size() && direction[end] == direction[at]) {
      ++end;
    }
    text += fmt::format(" {}*{}", direction[at], end - at);
    at = end;
  }
  return text;
}

Schedule parse_json(std::string_view text, const std::string& origin) {
  const nlohmann::json document = parse_document(text, origin);
  const JsonReader reader(document, origin);
  Schedule schedule{.pipeline = parse_pipeline_members(reader), .ranks = {}};
  for (const nlohmann::json& row : reader.list("ranks")) {
    if (!row.is_string()) {
      reader.refuse("ranks",
                    fmt::format("expected a list of strings such as \"0F0,0F1,0B0\", found "
                                "one of type {}",
                                row.type_name()));
    }
    const std::string place = fmt::format("{}: ranks[{}]", origin, schedule.ranks.size());
    schedule.ranks.push_back(
        parse_row({.text = row.get_ref<const std::string&>(), .origin = place, .number = 1}));
  }
  schedule.pipeline.placement.ranks = static_cast<int>(schedule.ranks.size());
  return schedule;
}

// What every written form must say, so that any of them can say it again.
void check_says_something(const Schedule& schedule, const std::string& origin) {
  const Pipeline& pipeline = schedule.pipeline;
  if (schedule.ranks.empty() || pipeline.direction.empty() ||
      pipeline.placement.rank_of_stage.empty() || pipeline.placement.stages() == 0) {
    refuse(origin, "expected at least one rank, stage, direction and microbatch");
  }
  for (const std::vector<int>& rank_of : pipeline.placement.rank_of_stage) {
    if (rank_of.size() != pipeline.placement.rank_of_stage.front().size()) {
      refuse(origin, fmt::format("the directions of the placement have {} and {} stages; expected "
                                 "the same stages in each",
                                 pipeline.placement.stages(), rank_of.size()));
    }
  }
}

}  // namespace

std::string to_json(const Schedule& schedule) {
  std::string text = fmt::format("{{\"schema_version\":{},{}\"ranks\":[", schema_version,
                                 pipeline_members(schedule.pipeline));
  const char* separator = "\n\"";
  for (const std::vector<Slot>& slots : schedule.ranks) {
    text += separator;
    append_row(text, slots, ',');
    separator = "\",\n\"";
  }
  return text + "\"]}\n";
}

std::string to_csv(const Schedule& schedule) {
  std::string text;
  for (const std::vector<Slot>& slots : schedule.ranks) {
    append_row(text, slots, ',');
    text += '\n';
  }
  return text;
}

std::string to_text(const Schedule& schedule) {
  const Pipeline& pipeline = schedule.pipeline;
  std::string text = fmt::format("{} {}\n{}", name_key, pipeline.name, placement_key);
  const char* separator = "";
  for (const std::vector<int>& rank_of : pipeline.placement.rank_of_stage) {
    text += fmt::format("{} {}", separator, fmt::join(rank_of, " "));
    separator = " |";
  }
  text += fmt::format("\n{}{}\n", direction_key, run_lengths(pipeline.direction));
  for (const std::vector<Slot>& slots : schedule.ranks) {
    append_row(text, slots, ' ');
    text += '\n';
  }
  return text;
}

Schedule parse_schedule(std::string_view text, const std::string& origin) {
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) {
    refuse(origin, "expected a schedule, found nothing");
  }
  Schedule schedule = text[first] == '{' ? parse_json(text, origin) : parse_lines(text, origin);
  check_says_something(schedule, origin);
  return schedule;
}

}  // namespace dualpipe
