#include "cli/config.h"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <fmt/core.h>
#include <fmt/format.h>
#include <toml++/toml.h>  // included here alone, because it is slow to compile

#include "cli/config_keys.h"
#include "costs/cost_model.h"
#include "costs/error.h"
#include "costs/huggingface.h"
#include "scheduler/file.h"
#include "scheduler/memory.h"

namespace dualpipe {
namespace {

// Where a value comes from: a file, or the `key=value` of one --set.
struct Origin {
  std::string name;  // of the file, or "--set costs.forward=2"
  bool is_set = false;

  [[nodiscard]] std::string at(const toml::source_region& region) const {
    return is_set ? name : fmt::format("{}:{}:{}", name, region.begin.line, region.begin.column);
  }

  // The key's default, as one would write it here; for a key that is left out by default, a value
  // that all of those take.
  [[nodiscard]] std::string example(const ConfigKey& key) const {
    const std::string value = toml_value(key, Config{});
    Config config;
    const bool is_word = std::holds_alternative<std::string*>(key.field(config));
    const std::string entry = !value.empty() ? value : is_word ? "\"mine\"" : "1";
    if (!is_set) {
      return fmt::format("{} = {}", key.name, entry);
    }
    const bool is_text = entry.starts_with('"');  // a shell would take the quotes away
    return fmt::format("--set {}={}", key.dotted(),
                       is_text ? entry.substr(1, entry.size() - 2) : entry);
  }
};

// What was found, in words.
std::string words(const toml::node& node) {
  if (const auto* text = node.as_string()) {
    return "the text " + quoted(text->get());
  }
  if (const auto* integer = node.as_integer()) {
    return fmt::format("{}", integer->get());
  }
  if (const auto* number = node.as_floating_point()) {
    return toml_number(number->get());
  }
  if (const auto* boolean = node.as_boolean()) {
    return boolean->get() ? "true" : "false";
  }
  if (const auto* list = node.as_array()) {
    return fmt::format("a list of {}", list->size());
  }
  return node.is_table() ? "a table" : "a date or time";
}

// Reads one value into the field of its key; the field's type says what it must be.
class Reader {
 public:
  Reader(const ConfigKey& key, const toml::node& node, const Origin& origin)
      : key_(key), node_(node), origin_(origin) {}

  void operator()(std::string* field) const {
    const auto* text = node_.as_string();
    if (text == nullptr || text->get().empty()) {
      refuse(node_);
    }
    if (!key_.choices.empty() &&
        std::ranges::find(key_.choices, text->get()) == key_.choices.end()) {
      refuse(node_, did_you_mean(text->get(), key_.choices));
    }
    *field = text->get();
  }

  void operator()(int* field) const {
    const auto* integer = node_.as_integer();
    if (integer == nullptr || !key_.range.contains(static_cast<double>(integer->get()))) {
      refuse(node_);
    }
    *field = static_cast<int>(integer->get());
  }

  void operator()(bool* field) const {
    const auto* boolean = node_.as_boolean();
    if (boolean == nullptr) {
      refuse(node_);
    }
    *field = boolean->get();
  }

  void operator()(double* field) const { *field = number(node_); }

  void operator()(std::vector<double>* field) const { *field = numbers(); }

  void operator()(CostValue* field) const {
    *field = CostValue(numbers(), origin_.at(node_.source()));
  }

  void operator()(std::optional<CostValue>* field) const { (*this)(&field->emplace(0.0)); }

  void operator()(std::optional<CostNumber>* field) const {
    *field = CostNumber(number(node_), origin_.at(node_.source()));
  }

  void operator()(std::optional<MemoryLimit>* field) const {
    const auto* integer = node_.as_integer();
    const auto* text = node_.as_string();
    if (integer == nullptr && text == nullptr) {
      refuse(node_);
    }
    try {
      *field =
          parse_memory_limit(text != nullptr ? text->get() : fmt::format("{}", integer->get()));
    } catch (const Error&) {  // It says less about the place than refuse() does.
      refuse(node_);
    }
  }

 private:
  // One, or those of a list.
  [[nodiscard]] std::vector<double> numbers() const {
    std::vector<double> values;
    if (const auto* list = node_.as_array()) {
      for (const toml::node& element : *list) {
        values.push_back(number(element));
      }
    } else {
      values.push_back(number(node_));
    }
    if (values.empty()) {
      refuse(node_);
    }
    return values;
  }

  // Of the value, or of one element of a list.
  [[nodiscard]] double number(const toml::node& node) const {
    const std::optional<double> value =
        node.is_number() ? node.value<double>() : std::optional<double>();
    if (!value || !key_.range.contains(*value)) {
      refuse(node);
    }
    return *value;
  }

  [[noreturn]] void refuse(const toml::node& node, const std::string& suggestion = "") const {
    throw Error(ExitCode::usage,
                fmt::format("{}: {}: expected {}; found {}{}; write for example {}",
                            origin_.at(node.source()), key_.dotted(), expectation(key_),
                            words(node), suggestion, origin_.example(key_)));
  }

  const ConfigKey& key_;
  const toml::node& node_;
  const Origin& origin_;
};

[[noreturn]] void refuse_key(const std::string& where, std::string_view name) {
  std::vector<std::string> known;
  std::vector<std::string_view> of_table;  // of the table that the name has
  std::string suggestion;
  const std::size_t dot = std::min(name.rfind('.'), name.size());
  const std::string_view last = name.substr(dot == name.size() ? 0 : dot + 1);
  for (const ConfigKey& key : config_keys()) {
    known.push_back(key.dotted());
    if (key.name == last) {  // right but for its table, which is too far for an edit distance
      suggestion = fmt::format(" (did you mean '{}'?)", known.back());
    }
    if (key.table == name.substr(0, dot)) {
      of_table.push_back(key.name);
    }
  }
  if (suggestion.empty()) {
    suggestion = did_you_mean(name, std::vector<std::string_view>(known.begin(), known.end()));
  }
  const std::string keys =
      of_table.empty()
          ? "the keys are those that --dump-config prints"
          : fmt::format("the keys of [{}] are {}", name.substr(0, dot), fmt::join(of_table, ", "));
  throw Error(ExitCode::usage,
              fmt::format("{}: unknown key {}{}; {}", where, quoted(name), suggestion, keys));
}

[[noreturn]] void refuse_table(const std::string& where, std::string_view name) {
  std::vector<std::string_view> known;
  for (const ConfigKey& key : config_keys()) {
    if (known.empty() || known.back() != key.table) {
      known.push_back(key.table);
    }
  }
  throw Error(ExitCode::usage,
              fmt::format("{}: unknown table {}{}; the tables are {}", where, quoted(name),
                          did_you_mean(name, known), fmt::join(known, ", ")));
}

// Sets the key of that dotted name; `where` is the place of the name.
void apply(const std::string& name, const std::string& where, const toml::node& value,
           const Origin& origin, Config& config) {
  const auto key = std::ranges::find(config_keys(), name, &ConfigKey::dotted);
  if (key == config_keys().end()) {
    refuse_key(where, name);
  }
  std::visit(Reader(*key, value, origin), key->field(config));
}

// Returns the position after the string that opens at `begin`, or after its line if it never
// closes.
std::size_t end_of_string(std::string_view text, std::size_t begin) {
  const char quote = text[begin];
  const std::string triple(3, quote);
  const bool is_multiline = text.substr(begin, 3) == triple;
  std::size_t position = begin + (is_multiline ? 3 : 1);
  for (; position < text.size(); ++position) {
    if (text[position] == '\\' && quote == '"') {
      ++position;
    } else if (is_multiline && text.substr(position, 3) == triple) {
      // Up to two quotes may stand right before the three that close.
      position = std::min(text.find_first_not_of(quote, position), position + 5);
      return std::min(position, text.size());
    } else if (!is_multiline && (text[position] == quote || text[position] == '\n')) {
      return position + 1;
    }
  }
  return text.size();
}

// The position in a dotted key of more parts than any of ours, npos where there is none. toml++ 3.3
// makes a table of each part and frees them recursively, so tens of thousands of parts would
// exhaust the stack and end the program.
constexpr int key_parts_max = 8;
std::size_t find_deep_key(std::string_view text) {
  int parts = 1;
  std::size_t position = 0;
  while (position < text.size() && parts <= key_parts_max) {
    const char letter = text[position];
    if (letter == '"' || letter == '\'') {
      position = end_of_string(text, position);
    } else if (letter == '#') {
      position = std::min(text.find('\n', position), text.size());
    } else {
      const bool ends_key = std::string_view("=,[]{}\n").find(letter) != std::string_view::npos;
      parts = ends_key ? 1 : parts + (letter == '.' ? 1 : 0);
      ++position;
    }
  }
  return parts > key_parts_max ? position - 1 : std::string_view::npos;
}

// The table that `text` writes; none where it is not TOML.
std::optional<toml::table> parse_toml(const std::string& text) {
  if (find_deep_key(text) != std::string_view::npos) {
    return std::nullopt;
  }
  try {
    return toml::parse(text);
  } catch (const toml::parse_error&) {
    return std::nullopt;
  }
}

// The value of a --set, under the key "value": TOML where it is TOML, else text as it stands.
toml::table set_value(const std::string& value, const std::string& origin) {
  const std::optional<toml::table> as_toml = parse_toml("value = " + value);
  if (as_toml && as_toml->size() == 1) {  // more would be keys smuggled in after a line break
    return *as_toml;
  }
  const std::optional<toml::table> as_text = parse_toml("value = " + quoted(value));
  if (!as_text) {
    throw Error(ExitCode::usage,
                fmt::format("{}: expected text in UTF-8; found bytes that are not; write such "
                            "characters as \\uXXXX, in double quotes",
                            origin));
  }
  return *as_text;
}

void apply_set(const std::string& set, Config& config) {
  const Origin origin{.name = "--set " + set, .is_set = true};
  const std::size_t equals = set.find('=');
  if (equals == std::string::npos) {
    throw Error(ExitCode::usage, fmt::format("{}: expected key=value; found no '='; write for "
                                             "example --set pipeline.ranks=8",
                                             origin.name));
  }
  const toml::table table = set_value(set.substr(equals + 1), origin.name);
  apply(set.substr(0, equals), origin.name, *table.get("value"), origin, config);
}

toml::table parse_file(std::string_view text, const Origin& file) {
  if (const std::size_t deep = find_deep_key(text); deep != std::string_view::npos) {
    const std::string_view before = text.substr(0, deep);
    const auto line = std::ranges::count(before, '\n') + 1;
    const std::size_t column = deep - (before.rfind('\n') + 1) + 1;  // npos + 1 is 0
    throw Error(ExitCode::usage,
                fmt::format("{}:{}:{}: expected keys of two parts, table.name; found one of more "
                            "than {}; the keys are those of --dump-config",
                            file.name, line, column, key_parts_max));
  }
  try {
    return toml::parse(text);
  } catch (const toml::parse_error& error) {
    throw Error(ExitCode::usage,
                fmt::format("{}: this is not TOML: {}; tables are written [name], entries "
                            "key = value, and texts in double quotes",
                            file.at(error.source()), error.description()));
  }
}

// No TOML begins with a brace.
bool is_json(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  return first != std::string_view::npos && text[first] == '{';
}

}  // namespace

Config parse_config(std::string_view text, const std::string& origin, Config base) {
  const Origin file{.name = origin};
  const toml::table root = parse_file(text, file);
  for (const auto& [table, content] : root) {
    const std::string where = file.at(table.source());
    const bool is_known =
        std::ranges::find(config_keys(), table.str(), &ConfigKey::table) != config_keys().end();
    if (!is_known && content.is_table()) {
      refuse_table(where, table);
    }
    if (!is_known) {
      refuse_key(where, table);
    }
    if (!content.is_table()) {
      throw Error(ExitCode::usage,
                  fmt::format("{}: {}: expected a table; found {}; write [{}] with its keys below",
                              file.at(content.source()), table.str(), words(content), table.str()));
    }
    for (const auto& [name, value] : *content.as_table()) {
      apply(fmt::format("{}.{}", table.str(), name.str()), file.at(name.source()), value, file,
            base);
    }
  }
  return base;
}

Config load_config(std::span<const std::string> paths, std::span<const std::string> sets) {
  Config config;
  for (const std::string& path : paths) {
    const std::string text = read_text(path);
    if (is_json(text)) {
      config.model = parse_huggingface(text, path);
    } else {
      config = parse_config(text, path, std::move(config));
    }
  }
  for (const std::string& set : sets) {
    apply_set(set, config);
  }
  return config;
}

}  // namespace dualpipe
