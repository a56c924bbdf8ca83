#include "cli/config_keys.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <fmt/core.h>
#include <fmt/format.h>

#include "cli/config.h"
#include "costs/check.h"
#include "costs/cost_model.h"
#include "scheduler/memory.h"

namespace dualpipe {
namespace {

// What the keys accept, by the type of their field.
struct Expectation {
  const ConfigKey& key;

  std::string operator()(const std::string* /*field*/) const {
    return key.choices.empty() ? "a text that is not empty"
                               : fmt::format("one of \"{}\"", fmt::join(key.choices, "\", \""));
  }
  std::string operator()(const int* /*field*/) const { return key.range.whole_words(); }
  std::string operator()(const bool* /*field*/) const { return "true or false"; }
  std::string operator()(const double* /*field*/) const { return key.range.words(); }
  std::string operator()(const CostValue* /*field*/) const {
    return key.range.words() + ", or a list of them with one per stage";
  }
  std::string operator()(const std::optional<CostValue>* /*field*/) const {
    return (*this)(static_cast<const CostValue*>(nullptr));
  }
  std::string operator()(const std::optional<CostNumber>* /*field*/) const {
    return (*this)(static_cast<const double*>(nullptr));
  }
  std::string operator()(const std::vector<double>* /*field*/) const {
    return key.range.words() + ", or a list of them";
  }
  std::string operator()(const std::optional<MemoryLimit>* /*field*/) const {
    return "a whole number of stage activations, or of bytes with their unit, such as \"40GiB\"";
  }
};

// The values as TOML, by the type of their field.
struct Written {
  std::string operator()(const std::string* field) const {
    return field->empty() ? "" : quoted(*field);
  }
  std::string operator()(const int* field) const { return fmt::format("{}", *field); }
  std::string operator()(const bool* field) const { return *field ? "true" : "false"; }
  std::string operator()(const double* field) const {
    CHECK(std::isfinite(*field));
    return toml_number(*field);
  }
  std::string operator()(const std::vector<double>* field) const {
    std::string list;
    for (const double& value : *field) {
      list += (list.empty() ? "" : ", ") + (*this)(&value);
    }
    return field->size() < 2 ? list : "[" + list + "]";
  }
  std::string operator()(const CostValue* field) const { return (*this)(&field->values); }
  std::string operator()(const std::optional<CostValue>* field) const {
    return field->has_value() ? (*this)(&field->value()) : "";
  }
  std::string operator()(const std::optional<CostNumber>* field) const {
    return field->has_value() ? (*this)(&field->value().value) : "";
  }
  std::string operator()(const std::optional<MemoryLimit>* field) const {
    if (!field->has_value()) {
      return "";
    }
    const MemoryLimit& limit = field->value();
    return limit.unit == MemoryLimit::Unit::bytes ? fmt::format("\"{}B\"", limit.amount)
                                                  : fmt::format("{}", limit.amount);
  }
};

// A cost that nobody has set must not go before a derived one when the dump is read back.
bool is_unset_cost(const ConfigKey& key, const Config& config) {
  Config values = config;  // a key gives access to change its field
  const ConfigField field = key.field(values);
  const auto* const* value = std::get_if<CostValue*>(&field);
  return value != nullptr && (*value)->where.empty();
}

// Tables that few people need are left out where nothing in them was set.
bool is_left_out(std::string_view table, const Config& config) {
  return (table == "model" && config.model == ModelConfig{}) ||
         (table == "parallel" && config.parallel == ParallelConfig{}) ||
         (table == "hardware" && config.hardware == HardwareConfig{}) ||
         (table == "network" && config.network == NetworkConfig{}) ||
         (table == "jitter" && config.jitter == JitterConfig{});
}

}  // namespace

std::string ConfigKey::dotted() const {
  return fmt::format("{}.{}", table, name);
}

std::string expectation(const ConfigKey& key) {
  Config config;
  return std::visit(Expectation{key}, key.field(config));
}

std::string toml_value(const ConfigKey& key, const Config& config) {
  Config values = config;  // a key gives access to change its field
  return std::visit(Written{}, key.field(values));
}

std::string toml_number(double value) {
  const std::string digits = fmt::format("{}", value);
  return digits.find_first_not_of("-0123456789") == std::string::npos ? digits + ".0" : digits;
}

std::string quoted(std::string_view text) {
  std::string result = "\"";
  for (const char letter : text) {
    const unsigned int code = static_cast<unsigned char>(letter);
    if (letter == '"' || letter == '\\') {
      result += {'\\', letter};
    } else if (code < 0x20 || code == 0x7f) {
      result += fmt::format("\\u{:04x}", code);
    } else {
      result += letter;
    }
  }
  return result + "\"";
}

std::string dump_config(const Config& config) {
  std::string text;
  std::string_view table;
  for (const ConfigKey& key : config_keys()) {
    if (is_left_out(key.table, config)) {
      continue;
    }
    if (key.table != table) {
      text += fmt::format("{}[{}]\n", text.empty() ? "" : "\n", key.table);
      table = key.table;
    }
    const std::string value = toml_value(key, config);
    const bool is_out = value.empty() || is_unset_cost(key, config);
    const std::string entry = fmt::format("{}{} = {}", is_out ? "# " : "", key.name, value);
    text += fmt::format("{:<28}  # {}\n", entry, key.meaning);
  }
  return text;
}

std::string describe_config() {
  std::size_t width = 0;
  for (const ConfigKey& key : config_keys()) {
    width = std::max(width, key.dotted().size() + 2);
  }
  std::string text;
  for (const ConfigKey& key : config_keys()) {
    const std::string value = toml_value(key, Config{});
    text += fmt::format("{:<{}}{}\n{:{}}{}; default {}\n", key.dotted(), width, key.meaning, "",
                        width, expectation(key), value.empty() ? "none" : value);
  }
  return text;
}

}  // namespace dualpipe
