// The JSON members that schedules and timelines share, and a reader whose messages name the key.
// Not installed: documents are read and written through text.h and trace/timeline.h.

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "scheduler/pipeline.h"

namespace dualpipe {

inline constexpr int schema_version = 1;

// Throws Error (invalid_schedule) with origin:line:column when the text is not JSON.
[[nodiscard]] nlohmann::json parse_document(std::string_view text, const std::string& origin);

// Reads members of one JSON object. Every function throws Error (invalid_schedule) naming the key,
// what was expected and what was found. Both arguments must outlive the reader.
class JsonReader {
 public:
  static constexpr int integer_max = 100'000'000;

  JsonReader(const nlohmann::json& object, const std::string& origin)
      : object_(object), origin_(origin) {}

  [[nodiscard]] bool has(const char* key) const { return object_.contains(key); }
  [[nodiscard]] std::string string(const char* key) const;
  [[nodiscard]] int integer(const char* key) const;  // 0 to integer_max
  [[nodiscard]] const nlohmann::json& list(const char* key) const;
  [[nodiscard]] std::vector<int> integers(const nlohmann::json& list, const char* key) const;
  [[noreturn]] void refuse(const char* key, const std::string& what) const;

 private:
  [[nodiscard]] const nlohmann::json& member(const char* key, const char* expected) const;
  [[nodiscard]] int to_integer(const nlohmann::json& value, const char* key) const;

  const nlohmann::json& object_;
  const std::string& origin_;
};

// `"name":..,"stages":..,"microbatches":..,` and, on lines of their own, placement and direction.
[[nodiscard]] std::string pipeline_members(const Pipeline& pipeline);

// Reads them back, and the version. The number of ranks is for the caller to fill in.
[[nodiscard]] Pipeline parse_pipeline_members(const JsonReader& reader);

// {"name":..,"ranks":..,"stages":..,"microbatches":..,"chunks":..,"directions":..}: what reports
// say of a pipeline.
[[nodiscard]] nlohmann::ordered_json summary_json(const Pipeline& pipeline);

// Whether a name fits on one line of any document: UTF-8 without control characters.
[[nodiscard]] bool is_name(const std::string& name);

}  // namespace dualpipe
