#include "costs/config_check.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "costs/error.h"

namespace dualpipe {

bool NumberRange::contains(double value) const {
  return std::isfinite(value) && value >= least && value <= largest;
}

std::string NumberRange::whole_words() const {
  return fmt::format("a whole number from {:.0f} to {:.0f}", least, largest);
}

std::string NumberRange::words() const {
  return std::isfinite(largest) ? fmt::format("a number from {:g} to {:g}", least, largest)
                                : fmt::format("a number of {:g} or more", least);
}

void ConfigCheck::refuse(std::string_view key, const Refusal& refusal) const {
  throw Error(ExitCode::usage, fmt::format("{}.{}: expected {}, found {}; {}", table_, key,
                                           refusal.expected, refusal.found, refusal.remedy));
}

void ConfigCheck::whole(std::string_view key, int value, NumberRange range) const {
  if (!range.contains(value)) {
    refuse(key, {.expected = range.whole_words(),
                 .found = fmt::format("{}", value),
                 .remedy = fmt::format("set {}.{} to one of those", table_, key)});
  }
}

void ConfigCheck::number(std::string_view key, double value, NumberRange range) const {
  if (!range.contains(value)) {
    refuse(key, {.expected = range.words(),
                 .found = fmt::format("{:g}", value),
                 .remedy = fmt::format("set {}.{} to one of those", table_, key)});
  }
}

void ConfigCheck::word(std::string_view key, std::string_view value,
                       std::span<const std::string_view> choices) const {
  if (std::ranges::find(choices, value) == choices.end()) {
    refuse(key, {.expected = fmt::format("one of \"{}\"", fmt::join(choices, "\", \"")),
                 .found = fmt::format("\"{}\"{}", value, did_you_mean(value, choices)),
                 .remedy = fmt::format("set {}.{} to one of those", table_, key)});
  }
}

}  // namespace dualpipe
