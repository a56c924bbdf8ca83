#include "cli/vary.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <variant>
#include <vector>

#include <fmt/format.h>

#include "cli/config.h"
#include "cli/config_keys.h"
#include "costs/check.h"
#include "costs/error.h"

namespace dualpipe {
namespace {

constexpr std::int64_t values_max = 1'000'000;  // of one range

// Says where a text is wrong.
struct Source {
  const std::string& text;

  [[noreturn]] void refuse(const std::string& what) const {
    throw Error(ExitCode::usage, fmt::format("--vary {}: {}", text, what));
  }
};

const ConfigKey& find_key(const Source& source, const std::string& name) {
  std::vector<const ConfigKey*> found;
  std::vector<std::string> known;
  for (const ConfigKey& key : config_keys()) {
    known.push_back(key.dotted());
    if (name == known.back() || name == key.name) {
      found.push_back(&key);
    }
  }
  if (found.empty()) {
    std::vector<std::string_view> candidates(known.begin(), known.end());
    for (const ConfigKey& key : config_keys()) {
      candidates.push_back(key.name);
    }
    source.refuse(fmt::format("expected a config key, found '{}'{}; the keys are {}", name,
                              did_you_mean(name, candidates), fmt::join(known, ", ")));
  }
  if (found.size() > 1) {
    std::vector<std::string> names;
    for (const ConfigKey* key : found) {
      names.push_back(key->dotted());
    }
    source.refuse(fmt::format("'{}' is the name of several keys; write one of {}", name,
                              fmt::join(names, ", ")));
  }
  return *found.front();
}

// At commas outside brackets and quotes.
std::vector<std::string> split(std::string_view text) {
  std::vector<std::string> parts{""};
  int depth = 0;
  char quote = '\0';
  for (const char letter : text) {
    if (quote != '\0') {
      quote = letter == quote ? '\0' : quote;
    } else if (letter == '"' || letter == '\'') {
      quote = letter;
    } else if (letter == '[' || letter == ']') {
      depth += letter == '[' ? 1 : -1;
    }
    if (letter == ',' && depth == 0 && quote == '\0') {
      parts.emplace_back();
    } else {
      parts.back() += letter;
    }
  }
  return parts;
}

// --- ranges ---

// value * 10^-decimals, so that steps of 0.1 add up exactly.
struct Decimal {
  std::int64_t value = 0;
  int decimals = 0;
};

std::optional<Decimal> parse_decimal(std::string_view text) {
  constexpr std::size_t digits_max = 15;
  Decimal decimal;
  const std::size_t point = text.find('.');
  std::string digits(text.substr(0, point));
  if (point != std::string_view::npos) {
    const std::string_view fraction = text.substr(point + 1);
    decimal.decimals = static_cast<int>(fraction.size());
    digits += fraction;
  }
  const char* end = digits.data() + digits.size();
  if (digits.empty() || digits.size() > digits_max || digits.starts_with('-')) {
    return std::nullopt;
  }
  const std::from_chars_result read = std::from_chars(digits.data(), end, decimal.value);
  return read.ec == std::errc{} && read.ptr == end ? std::optional(decimal) : std::nullopt;
}

struct Range {
  std::int64_t from = 0;
  std::int64_t to = 0;
  std::int64_t step = 0;
  int decimals = 0;  // of all three
};

// Nothing for what is no number, or no range of at most values_max.
std::optional<Range> parse_range(const std::array<std::string_view, 3>& texts) {
  std::array<Decimal, 3> parts;
  Range range;
  for (std::size_t part = 0; part < texts.size(); ++part) {
    const std::optional<Decimal> decimal = parse_decimal(texts.at(part));
    if (!decimal) {
      return std::nullopt;
    }
    parts.at(part) = *decimal;
    range.decimals = std::max(range.decimals, decimal->decimals);
  }
  for (Decimal& part : parts) {
    for (; part.decimals < range.decimals; ++part.decimals) {
      if (__builtin_mul_overflow(part.value, 10, &part.value)) {
        return std::nullopt;
      }
    }
  }
  range.from = parts[0].value;
  range.to = parts[1].value;
  range.step = parts[2].value;
  const bool is_range =
      range.step > 0 && range.from <= range.to && (range.to - range.from) / range.step < values_max;
  return is_range ? std::optional(range) : std::nullopt;
}

std::string written(std::int64_t value, int decimals) {
  std::string digits = fmt::format("{:0{}}", value, decimals + 1);
  if (decimals > 0) {
    digits.insert(digits.size() - static_cast<std::size_t>(decimals), ".");
    digits.erase(digits.find_last_not_of('0') + 1);
    digits.erase(digits.find_last_not_of('.') + 1);
  }
  return digits;
}

bool takes_ranges(const ConfigKey& key) {
  Config config;
  const ConfigField field = key.field(config);
  return !std::holds_alternative<std::string*>(field) && !std::holds_alternative<bool*>(field);
}

std::vector<std::string> range_of(const Source& source, std::string_view text) {
  const std::size_t first = text.find(':');
  const std::size_t second = text.find(':', first + 1);
  std::optional<Range> range;
  if (second != std::string_view::npos) {
    range = parse_range({text.substr(0, first), text.substr(first + 1, second - first - 1),
                         text.substr(second + 1)});
  }
  if (!range) {
    source.refuse(
        fmt::format("expected a range from:to:step of numbers of 0 or more, with from <= "
                    "to, a step above 0 and at most {} values; found '{}'; write for "
                    "example 16:128:16",
                    values_max, text));
  }
  std::vector<std::string> values;
  for (std::int64_t value = range->from; value <= range->to; value += range->step) {
    values.push_back(written(value, range->decimals));
  }
  return values;
}

// Whatever no config takes is refused before anything runs.
void check_values(const Source& source, const Axis& axis) {
  for (const std::string& value : axis.values) {
    try {
      const std::vector<std::string> sets{axis.key->dotted() + "=" + value};
      static_cast<void>(load_config({}, sets));
    } catch (const Error& error) {
      source.refuse(error.what());
    }
  }
}

}  // namespace

Axis parse_axis(const std::string& text) {
  const Source source{text};
  const std::size_t equals = text.find('=');
  if (equals == std::string::npos) {
    source.refuse("expected key=value,value,..; found no '='; write for example --vary ranks=4,8");
  }
  Axis axis;
  axis.name = text.substr(0, equals);
  axis.key = &find_key(source, axis.name);
  for (const std::string& part : split(std::string_view(text).substr(equals + 1))) {
    if (part.find(':') != std::string::npos && takes_ranges(*axis.key)) {
      for (std::string& value : range_of(source, part)) {
        axis.values.push_back(std::move(value));
      }
    } else {
      axis.values.push_back(part);
    }
  }
  check_values(source, axis);
  return axis;
}

std::size_t count_points(std::span<const Axis> axes) {
  std::size_t count = 1;
  for (const Axis& axis : axes) {
    CHECK(!axis.values.empty());
    if (axis.values.size() > points_max / count) {
      throw Error(ExitCode::usage,
                  fmt::format("--vary: expected at most {} points, found more with the values of "
                              "{}; take fewer values, or several sweeps",
                              points_max, axis.name));
    }
    count *= axis.values.size();
  }
  return count;
}

std::vector<std::string_view> point_of(std::span<const Axis> axes, std::size_t point) {
  std::vector<std::string_view> values(axes.size());
  for (std::size_t axis = axes.size(); axis-- > 0;) {
    const std::vector<std::string>& all = axes[axis].values;
    values[axis] = all[point % all.size()];
    point /= all.size();
  }
  return values;
}

}  // namespace dualpipe
