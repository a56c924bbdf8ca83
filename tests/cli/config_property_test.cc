// Properties of the config over random configs and random damage. RapidCheck prints the seed and
// the smallest counterexample.

#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "cli/config.h"
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

CostValue any_cost() {
  std::vector<double> values(*rc::gen::inRange<std::size_t>(1, 6));
  for (double& value : values) {
    value = any_number();
  }
  return {values, ""};
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

Config any_config() {
  Config config;
  config.pipeline.schedule = any_text();
  config.pipeline.ranks = *rc::gen::inRange(1, 100'001);
  config.pipeline.microbatches = *rc::gen::inRange(1, 10'000'001);
  config.pipeline.chunks = *rc::gen::inRange(1, 1025);
  if (*rc::gen::arbitrary<bool>()) {
    config.pipeline.memory_limit = any_limit();
  }
  config.pipeline.forward_only = *rc::gen::arbitrary<bool>();
  config.pipeline.effort = *rc::gen::inRange(0, 2'000'000'001);
  config.costs.unit = *rc::gen::element<std::string>("ns", "us", "ms", "s");
  config.costs.per = *rc::gen::element<std::string>("rank", "stage");
  config.costs.forward = any_cost();
  config.costs.backward_input = any_cost();
  config.costs.backward_weight = any_cost();
  if (*rc::gen::arbitrary<bool>()) {
    config.costs.overlapped = any_cost();
  }
  config.costs.p2p = any_number();
  config.costs.activation_bytes = any_cost();
  config.costs.weight_operand_bytes = any_cost();
  return config;
}

// Two configs from different places say the same when they are equal but for the places.
Config without_places(Config config) {
  CostConfig& costs = config.costs;
  for (CostValue* value : {&costs.forward, &costs.backward_input, &costs.backward_weight,
                           &costs.activation_bytes, &costs.weight_operand_bytes}) {
    value->where.clear();
  }
  if (costs.overlapped) {
    costs.overlapped->where.clear();
  }
  return config;
}

TEST(ConfigProperties, ADumpReadsBackAsTheSameConfig) {
  EXPECT_TRUE(rc::check([] {
    const Config config = any_config();
    // Over a base that differs in every way, so that a key that is not written shows.
    Config base = any_config();
    base.costs.overlapped.reset();
    base.pipeline.memory_limit.reset();
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
      RC_ASSERT(!load_config(std::nullopt, sets).pipeline.schedule.empty());
    } catch (const Error& error) {
      RC_ASSERT(error.code() == ExitCode::usage);
      RC_ASSERT(std::string(error.what()).starts_with("--set " + sets[0] + ": "));
    }
  }));
}

}  // namespace
}  // namespace dualpipe
