#include "scheduler/pipeline_json.h"

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "costs/error.h"
#include "scheduler/pipeline.h"

namespace dualpipe {
namespace {

using nlohmann::json;

std::string place_in(std::string_view text, const std::string& origin, std::size_t byte) {
  const std::string_view before = text.substr(0, std::min(byte, text.size()));
  const auto line = std::count(before.begin(), before.end(), '\n') + 1;
  const std::size_t newline = before.rfind('\n');
  const std::size_t column =
      newline == std::string_view::npos ? before.size() + 1 : before.size() - newline;
  return fmt::format("{}:{}:{}", origin, line, column);
}

}  // namespace

json parse_document(std::string_view text, const std::string& origin) {
  try {
    return json::parse(text);
  } catch (const json::parse_error& error) {
    const std::size_t byte = error.byte == 0 ? 0 : error.byte - 1;
    throw Error(ExitCode::invalid_schedule,
                place_in(text, origin, byte) + ": not JSON: " + error.what());
  } catch (const json::out_of_range& error) {
    throw Error(ExitCode::invalid_schedule, origin + ": a number is too large: " + error.what());
  }
}

void JsonReader::refuse(const char* key, const std::string& what) const {
  throw Error(ExitCode::invalid_schedule, fmt::format("{}: key '{}': {}", origin_, key, what));
}

const json& JsonReader::member(const char* key, const char* expected) const {
  const auto found = object_.find(key);
  if (found == object_.end()) {
    refuse(key, fmt::format("expected {}, found no such key", expected));
  }
  return *found;
}

std::string JsonReader::string(const char* key) const {
  const json& value = member(key, "a string");
  if (!value.is_string()) {
    refuse(key, fmt::format("expected a string, found {}", value.type_name()));
  }
  return value.get<std::string>();
}

int JsonReader::integer(const char* key) const {
  return to_integer(member(key, "a number"), key);
}

const json& JsonReader::list(const char* key) const {
  const json& value = member(key, "a list");
  if (!value.is_array()) {
    refuse(key, fmt::format("expected a list, found {}", value.type_name()));
  }
  return value;
}

std::vector<int> JsonReader::integers(const json& list, const char* key) const {
  if (!list.is_array()) {
    refuse(key, fmt::format("expected a list of numbers, found {}", list.type_name()));
  }
  std::vector<int> values;
  for (const json& value : list) {
    values.push_back(to_integer(value, key));
  }
  return values;
}

int JsonReader::to_integer(const json& value, const char* key) const {
  if (!value.is_number_integer() || value < 0 || value > integer_max) {
    refuse(key, fmt::format("expected a number from 0 to {}, found {}", integer_max,
                            value.is_primitive() ? value.dump() : value.type_name()));
  }
  return value.get<int>();
}

std::string pipeline_members(const Pipeline& pipeline) {
  return fmt::format(
      "\"name\":{},\"stages\":{},\"microbatches\":{},\n\"placement\":{},\n\"direction\":{},\n",
      json(pipeline.name).dump(), pipeline.stages(), pipeline.microbatches(),
      json(pipeline.placement.rank_of_stage).dump(), json(pipeline.direction).dump());
}

Pipeline parse_pipeline_members(const JsonReader& reader) {
  if (const int found = reader.integer("schema_version"); found != schema_version) {
    reader.refuse("schema_version",
                  fmt::format("expected {}, found {}; use the program that wrote the file",
                              schema_version, found));
  }
  Pipeline pipeline;
  pipeline.name = reader.string("name");
  if (!is_name(pipeline.name)) {
    reader.refuse("name", "expected UTF-8 without control characters");
  }
  for (const json& row : reader.list("placement")) {
    pipeline.placement.rank_of_stage.push_back(reader.integers(row, "placement"));
  }
  pipeline.direction = reader.integers(reader.list("direction"), "direction");
  const int microbatches = reader.integer("microbatches");
  if (microbatches != pipeline.microbatches()) {
    reader.refuse("direction", fmt::format("expected one direction for each of {} microbatches, "
                                           "found {}",
                                           microbatches, pipeline.microbatches()));
  }
  const int stages = reader.integer("stages");
  for (const std::vector<int>& rank_of : pipeline.placement.rank_of_stage) {
    if (rank_of.size() != static_cast<std::size_t>(stages)) {
      reader.refuse("placement", fmt::format("expected one rank for each of {} stages, found {}",
                                             stages, rank_of.size()));
    }
  }
  return pipeline;
}

nlohmann::ordered_json summary_json(const Pipeline& pipeline) {
  return {{"name", pipeline.name},
          {"ranks", pipeline.ranks()},
          {"stages", pipeline.stages()},
          {"microbatches", pipeline.microbatches()},
          {"chunks", pipeline.placement.chunks()},
          {"directions", pipeline.placement.directions()}};
}

bool is_name(const std::string& name) {
  const bool printable = std::none_of(name.begin(), name.end(), [](char letter) {
    return static_cast<unsigned char>(letter) < ' ' || letter == '\x7f';
  });
  try {
    static_cast<void>(json(name).dump());
    return printable;
  } catch (const json::type_error&) {  // The library's UTF-8 check, and its only way to say no.
    return false;
  }
}

}  // namespace dualpipe
