// Properties of the config over random configs and random damage. RapidCheck prints the seed and
// the smallest counterexample.

#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "cli/config.h"
#include "cli/config_keys.h"
#include "costs/config_check.h"
#include "costs/cost_model.h"
#include "costs/error.h"
#include "scheduler/memory.h"

namespace dualpipe {
namespace {

// Any number that a cost may be, of every magnitude: its bits are drawn, not its value.
double any_number() {
  const std::uint64_t bits = *rc::gen::arbitrary<std::uint64_t>();
  const double number = std::fabs(std::bit_cast<double>(bits));
  return std::isfinite(number) ? number : static_cast<double>(bits % 1000) / 8.0;
}

double any_number_in(const NumberRange& range) {
  if (!std::isfinite(range.largest)) {
    return any_number();
  }
  const double part = *rc::gen::inRange(0, 1'000'001) / 1e6;  // both ends are of the range
  return range.least * (1.0 - part) + range.largest * part;
}

CostValue any_cost() {
  std::vector<double> values(*rc::gen::inRange<std::size_t>(1, 6));
  for (double& value : values) {
    value = any_number();
  }
  return {values, "here"};  // set by somebody: defaults are not written where a model is
}

// Of every ASCII character, the control characters too, and one character of each longer length.
std::string any_text() {
  const std::array<std::string, 3> longer{"\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};
  std::string text;
  for (const std::size_t letter : *rc::gen::nonEmpty(
           rc::gen::container<std::vector<std::size_t>>(rc::gen::inRange<std::size_t>(0, 131)))) {
    text += letter < 128 ? std::string(1, static_cast<char>(letter)) : longer.at(letter - 128);
  }
  return text;
}

// Of every magnitude that a limit may have: up to 2^53.
MemoryLimit any_limit() {
  const std::uint64_t bits = *rc::gen::arbitrary<std::uint64_t>();
  const unsigned int shift = *rc::gen::inRange(11U, 64U);
  return {.amount = static_cast<std::int64_t>(bits >> shift),
          .unit = *rc::gen::element(MemoryLimit::Unit::activations, MemoryLimit::Unit::bytes)};
}

// Any value that the key accepts.
struct AnyValue {
  const ConfigKey& key;

  void operator()(std::string* field) const {
    *field = key.choices.empty() ? any_text()
                                 : std::string(*rc::gen::elementOf(std::vector<std::string_view>(
                                       key.choices.begin(), key.choices.end())));
  }
  void operator()(int* field) const {
    *field = *rc::gen::inRange(static_cast<int>(key.range.least),
                               static_cast<int>(key.range.largest) + 1);
  }
  void operator()(bool* field) const { *field = *rc::gen::arbitrary<bool>(); }
  void operator()(double* field) const { *field = any_number_in(key.range); }
  void operator()(CostValue* field) const { *field = any_cost(); }
  void operator()(std::optional<CostValue>* field) const { maybe(*field, any_cost); }
  void operator()(std::optional<CostNumber>* field) const { maybe(*field, any_number); }
  void operator()(std::optional<MemoryLimit>* field) const { maybe(*field, any_limit); }
  void operator()(std::vector<double>* field) const { *field = any_cost().values; }

  template <typename Value, typename Any>
  static void maybe(std::optional<Value>& field, Any any) {
    field.reset();
    if (*rc::gen::arbitrary<bool>()) {
      field = any();
    }
  }
};

Config any_config() {
  Config config;
  for (const ConfigKey& key : config_keys()) {
    std::visit(AnyValue{key}, key.field(config));
  }
  return config;
}

// Two configs from different places say the same when they are equal but for the places.
struct Bare {
  void operator()(CostValue* field) const { field->where.clear(); }
  void operator()(std::optional<CostValue>* field) const {
    if (*field) {
      (*field)->where.clear();
    }
  }
  void operator()(std::optional<CostNumber>* field) const {
    if (*field) {
      (*field)->where.clear();
    }
  }
  template <typename Other>
  void operator()(Other* /*field*/) const {}
};

Config without_places(Config config) {
  for (const ConfigKey& key : config_keys()) {
    std::visit(Bare{}, key.field(config));
  }
  return config;
}

struct LeftOut {
  template <typename Value>
  void operator()(std::optional<Value>* field) const {
    field->reset();
  }
  void operator()(std::vector<double>* field) const { field->clear(); }
  template <typename Other>
  void operator()(Other* /*field*/) const {}
};

TEST(ConfigProperties, ADumpReadsBackAsTheSameConfig) {
  EXPECT_TRUE(rc::check([] {
    const Config config = any_config();
    // Over a base that differs in every way, so that a key that is not written shows.
    Config base = any_config();
    for (const ConfigKey& key : config_keys()) {  // what a dump does not write, it cannot undo
      std::visit(LeftOut{}, key.field(base));
    }
    base.model = {};  // nor tables in which nothing is set
    base.parallel = {};
    base.hardware = {};
    base.network = {};
    base.jitter = {};
    const Config back = parse_config(dump_config(config), "dump", base);
    RC_ASSERT(without_places(back) == config);
  }));
}

// Damage: bytes replaced, removed, doubled.
std::string damaged(std::string text) {
  const int changes = *rc::gen::inRange(1, 8);
  for (int change = 0; change < changes && !text.empty(); ++change) {
    const std::size_t place = *rc::gen::inRange<std::size_t>(0, text.size());
    const std::size_t length = *rc::gen::inRange<std::size_t>(1, 12);
    switch (*rc::gen::inRange(0, 3)) {
      case 0:
        text[place] = *rc::gen::arbitrary<char>();
        break;
      case 1:
        text.erase(place, length);
        break;
      default:
        text.insert(place, text.substr(place, length));
    }
  }
  return text;
}

TEST(ConfigProperties, ADamagedFileLoadsOrIsRefused) {
  EXPECT_TRUE(rc::check([] {
    const std::string text = damaged(dump_config(any_config()));
    try {
      const Config config = parse_config(text, "damaged.toml", Config{});
      RC_ASSERT(without_places(parse_config(dump_config(config), "dump", Config{})) ==
                without_places(config));
    } catch (const Error& error) {
      RC_ASSERT(error.code() == ExitCode::usage);
      RC_ASSERT(std::string(error.what()).starts_with("damaged.toml:"));
    }
  }));
}

TEST(ConfigProperties, ASetOfAnyTextLoadsOrIsRefused) {
  EXPECT_TRUE(rc::check([] {
    const std::string value = any_text();
    const std::vector<std::string> sets{"pipeline.schedule=" + value};
    try {
      // Either the text itself or, where it is TOML, what that means.
      RC_ASSERT(!load_config({}, sets).pipeline.schedule.empty());
    } catch (const Error& error) {
      RC_ASSERT(error.code() == ExitCode::usage);
      RC_ASSERT(std::string(error.what()).starts_with("--set " + sets[0] + ": "));
    }
  }));
}

}  // namespace
}  // namespace dualpipe
