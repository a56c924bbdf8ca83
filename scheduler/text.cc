#include "scheduler/text.h"

#include <algorithm>
#include <array>
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
#include "scheduler/file.h"
#include "scheduler/infer.h"
#include "scheduler/lowered.h"
#include "scheduler/pipeline.h"
#include "scheduler/pipeline_json.h"
#include "scheduler/schedule.h"
#include "scheduler/text_line.h"

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

// A cell of `line`, which need not be all of it; nothing if it says nothing of the pipeline.
std::optional<Slot> parse_cell(const Line& line, std::string_view word, std::size_t column) {
  line.require_text(word, column);
  if (is_sharding(word)) {
    return std::nullopt;
  }
  try {
    return parse_slot(word);
  } catch (const Error& error) {
    line.refuse(column, is_lowered_cell(word)
                            ? fmt::format("'{}' is communication, which only `check` looks at; "
                                          "expected ops alone (PyTorch's compute_only form)",
                                          word.substr(0, 60))
                            : error.what());
  }
}

std::vector<Slot> parse_row(const Line& line) {
  std::vector<Slot> slots;
  for_each_word(line.text, [&](std::string_view word, std::size_t column) {
    if (const std::optional<Slot> slot = parse_cell(line, word, column)) {
      slots.push_back(*slot);
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
  for_each_line(text, origin, [&](const Line& line) {
    if (!schedule.ranks.empty() || !parse_header(line, headers)) {
      schedule.ranks.push_back(parse_row(line));
    }
  });
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

// --- the beginning of a long file ---

// Of documents that we write, the first key is schema_version; others may order theirs as they
// like.
void check_first_key(std::string_view head, const std::string& origin) {
  constexpr std::array<std::string_view, 9> keys{"schema_version", "kind",         "name",
                                                 "stages",         "microbatches", "placement",
                                                 "ranks",          "stage_bytes",  "direction"};
  const std::size_t begin = std::min(head.find('"'), head.size() - 1) + 1;
  const std::size_t end = std::min(head.find('"', begin), head.size());
  const std::string_view key = head.substr(begin, end - begin);
  if (std::find(keys.begin(), keys.end(), key) == keys.end()) {
    refuse(origin, fmt::format("expected a schedule or a timeline, of which the keys are {}; found "
                               "a long document that begins with the key \"{}\"",
                               fmt::join(keys, ", "), key.substr(0, 40)));
  }
}

bool is_header(std::string_view line) {
  return line.starts_with(name_key) || line.starts_with(placement_key) ||
         line.starts_with(direction_key);
}

// Refuses what parse_row() would refuse, but for a last word that may have been cut off.
void check_lines(std::string_view head, const std::string& origin) {
  constexpr std::size_t word_max = 128;  // far longer than any that means something
  const std::size_t last = head.find_last_of(", \t\r\n") + 1;
  if (head.size() - last < word_max) {
    head = head.substr(0, last);
  }
  for_each_line(head, origin, [](const Line& line) {
    if (is_header(line.text)) {
      return;
    }
    for_each_word(line.text, [&](std::string_view word, std::size_t column) {
      if (!is_lowered_cell(word)) {
        static_cast<void>(parse_cell(line, word, column));
      }
    });
  });
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

std::string read_document(const std::string& path) {
  return read_text(path, [&](std::string_view head) {
    const std::size_t first = head.find_first_not_of(" \t\r\n");
    if (first == std::string_view::npos) {
      return;  // So far it is empty.
    }
    if (head[first] == '{') {
      check_first_key(head, path);
    } else {
      check_lines(head, path);
    }
  });
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
