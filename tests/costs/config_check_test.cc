#include "costs/config_check.h"

#include <array>
#include <limits>
#include <string_view>

#include <gtest/gtest.h>

#include "costs/error.h"
#include "tests/support/refusal.h"

namespace dualpipe {
namespace {

constexpr ConfigCheck check("machine");

TEST(ConfigCheck, NamesKeyExpectationFindingAndRemedy) {
  EXPECT_EQ(refusal(ExitCode::usage,
                    [] {
                      check.whole("gpus", 0, {.least = 1, .largest = 8});
                      return 0;
                    }),
            "machine.gpus: expected a whole number from 1 to 8, found 0; set machine.gpus to one "
            "of those");
}

TEST(ConfigCheck, TakesBothEndsOfARange) {
  constexpr NumberRange range{.least = 0.5, .largest = 2.0};
  check.number("speed", 0.5, range);
  check.number("speed", 2.0, range);
  for (const double bad : {0.49, 2.01, std::numeric_limits<double>::infinity(),
                           std::numeric_limits<double>::quiet_NaN()}) {
    EXPECT_NE(refusal(ExitCode::usage,
                      [&] {
                        check.number("speed", bad, range);
                        return 0;
                      }),
              "");
  }
}

TEST(NumberRange, SaysWhatItHoldsInWords) {
  constexpr NumberRange range{.largest = 2.5};
  EXPECT_EQ(range.words(), "a number from 0 to 2.5");
  EXPECT_EQ(range.from(1).words(), "a number from 1 to 2.5");
  EXPECT_EQ(NumberRange{}.words(), "a number of 0 or more");
  EXPECT_EQ((NumberRange{.least = 1, .largest = 1'000'000}.whole_words()),
            "a whole number from 1 to 1000000");
}

TEST(NumberRange, WithoutAnEndHoldsEveryFiniteNumberFromZero) {
  EXPECT_TRUE(NumberRange{}.contains(0.0));
  EXPECT_TRUE(NumberRange{}.contains(std::numeric_limits<double>::max()));
  for (const double other : {-1e-300, std::numeric_limits<double>::infinity(),
                             std::numeric_limits<double>::quiet_NaN()}) {
    EXPECT_FALSE(NumberRange{}.contains(other)) << other;
  }
}

TEST(ConfigCheck, OffersTheNearestWord) {
  constexpr std::array<std::string_view, 2> words{"bf16", "fp8"};
  check.word("type", "fp8", words);
  EXPECT_EQ(refusal(ExitCode::usage,
                    [&] {
                      check.word("type", "bf15", words);
                      return 0;
                    }),
            "machine.type: expected one of \"bf16\", \"fp8\", found \"bf15\" (did you mean "
            "'bf16'?); set machine.type to one of those");
}

}  // namespace
}  // namespace dualpipe
