#include "runtime/fault.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <ratio>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <fmt/format.h>

#include "costs/error.h"
#include "runtime/transport.h"

namespace dualpipe {
namespace {

using Kind = Fault::Kind;

constexpr std::array kinds{Kind::delay,     Kind::jitter, Kind::reorder,
                           Kind::duplicate, Kind::drop,   Kind::truncate,
                           Kind::corrupt,   Kind::slow,   Kind::die};
constexpr std::array classes{MessageClass::activation, MessageClass::gradient,
                             MessageClass::replica, MessageClass::control};
constexpr std::array<std::string_view, 5> keys{"rank", "message", "class", "share", "ms"};
constexpr double ms_max = 1e6;

constexpr bool takes_time(Kind kind) {
  return kind == Kind::delay || kind == Kind::jitter || kind == Kind::reorder || kind == Kind::slow;
}

template <typename Values>
std::vector<std::string_view> names_of(const Values& values) {
  std::vector<std::string_view> names;
  for (const auto value : values) {
    names.push_back(to_string(value));
  }
  return names;
}

// One KEY=VALUE of a fault, and how to refuse it.
struct Setting {
  std::string_view fault;  // the whole text
  std::string_view key;
  std::string_view value;

  [[noreturn]] void refuse(const std::string& expected) const {
    throw Error(ExitCode::usage, fmt::format("fault '{}': {}: expected {}, found '{}'", fault, key,
                                             expected, value));
  }

  // A number from 0 to `most`.
  template <typename Number>
  [[nodiscard]] Number number(Number most) const {
    Number parsed{};
    const auto [end, problem] = std::from_chars(value.begin(), value.end(), parsed);
    if (problem != std::errc() || end != value.end() || !(parsed >= 0 && parsed <= most)) {
      refuse(fmt::format("a number from 0 to {}", most));
    }
    return parsed;
  }

  // One of `values`, by its name.
  template <typename Values>
  [[nodiscard]] auto one_of(const Values& values) const {
    const auto found = std::ranges::find_if(
        values, [this](const auto candidate) { return to_string(candidate) == value; });
    if (found == values.end()) {
      refuse(fmt::format("one of {}{}", fmt::join(names_of(values), ", "),
                         did_you_mean(value, names_of(values))));
    }
    return *found;
  }
};

void set(Fault& fault, const Setting& setting) {
  if (setting.key == "rank") {
    fault.rank = setting.number(1'000'000);
  } else if (setting.key == "message") {
    fault.message = setting.number(std::uint64_t{1'000'000'000'000});
  } else if (setting.key == "class") {
    fault.message_class = setting.one_of(classes);
  } else if (setting.key == "share") {
    fault.share = setting.number(1.0);
  } else if (setting.key == "ms" && takes_time(fault.kind)) {
    const std::chrono::duration<double, std::milli> time(setting.number(ms_max));
    fault.time = std::chrono::duration_cast<std::chrono::nanoseconds>(time);
  } else if (setting.key == "ms") {
    throw Error(ExitCode::usage, fmt::format("fault '{}': {} takes no time; leave out ms",
                                             setting.fault, to_string(fault.kind)));
  } else {
    throw Error(
        ExitCode::usage,
        fmt::format("fault '{}': expected KEY=VALUE with a key of {}, found '{}'{}", setting.fault,
                    fmt::join(keys, ", "), setting.key, did_you_mean(setting.key, keys)));
  }
}

}  // namespace

bool Fault::concerns(int sender, MessageClass sent_class) const {
  const bool counted = message_class ? sent_class == *message_class
                                     : sent_class == MessageClass::activation ||
                                           sent_class == MessageClass::gradient;
  return counted && (!rank || *rank == sender);
}

Fault parse_fault(std::string_view text) {
  const std::string_view name = text.substr(0, text.find(':'));
  Fault fault;
  fault.kind = Setting{.fault = text, .key = "kind", .value = name}.one_of(kinds);
  std::string_view rest = text.substr(std::min(name.size() + 1, text.size()));
  while (!rest.empty()) {
    const std::string_view one = rest.substr(0, rest.find(','));
    const std::size_t equals = std::min(one.find('='), one.size());
    set(fault, {.fault = text,
                .key = one.substr(0, equals),
                .value = one.substr(std::min(equals + 1, one.size()))});
    rest.remove_prefix(std::min(one.size() + 1, rest.size()));
  }
  if (takes_time(fault.kind) && fault.time == std::chrono::nanoseconds(0)) {
    throw Error(ExitCode::usage,
                fmt::format("fault '{}': expected how long, in milliseconds; write "
                            "for example {}:ms=2",
                            text, name));
  }
  return fault;
}

std::string fault_syntax() {
  return fmt::format("KIND[:KEY=VALUE,...]; KIND: {}; KEY: {}", fmt::join(names_of(kinds), ", "),
                     fmt::join(keys, ", "));
}

}  // namespace dualpipe
