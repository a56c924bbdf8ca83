// The table of config keys. A key is a row: its name, the field it stands for, what that accepts
// and what it means. To add one, add the field to Config and a row to
// config_tables.cc.

#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "cli/config.h"
#include "costs/config_check.h"
#include "costs/cost_model.h"
#include "scheduler/memory.h"

namespace dualpipe {

// A field of a Config. Its type is what the key accepts: text, a whole number, true or false, a
// number, a number or a list with one per stage; the same, or a memory limit, where leaving it out
// means something of its own; a list of any length, empty where it is left out.
using ConfigField =
    std::variant<std::string*, int*, bool*, double*, CostValue*, std::optional<CostValue>*,
                 std::optional<CostNumber>*, std::optional<MemoryLimit>*, std::vector<double>*>;

struct ConfigKey {
  std::string_view table{};  // filled in by config_keys()
  std::string_view name;
  ConfigField (*field)(Config&);
  NumberRange range{};                          // of a number, or of each in a list
  std::span<const std::string_view> choices{};  // of a text; none: any but the empty one
  std::string_view meaning;

  [[nodiscard]] std::string dotted() const;  // "costs.forward"
};

// Grouped by table; for as long as the program runs.
[[nodiscard]] std::span<const ConfigKey> config_keys();

// What the key accepts, in words: "a whole number from 1 to 1024".
[[nodiscard]] std::string expectation(const ConfigKey& key);

// The field's value as TOML; "" where it is left out. Requires: finite numbers.
[[nodiscard]] std::string toml_value(const ConfigKey& key, const Config& config);

// The shortest TOML float that reads back as the same double.
[[nodiscard]] std::string toml_number(double value);

// `text` as a TOML string, quotes included, on one line.
[[nodiscard]] std::string quoted(std::string_view text);

}  // namespace dualpipe
