#include "costs/error.h"

#include <array>
#include <string_view>

#include <gtest/gtest.h>

namespace dualpipe {
namespace {

constexpr std::array<std::string_view, 4> families{"1f1b", "dualpipe", "dualpipev", "gpipe"};

TEST(Error, CarriesItsCodeAndItsMessage) {
  const Error error(ExitCode::infeasible, "needs 3 GB");
  EXPECT_EQ(error.code(), ExitCode::infeasible);
  EXPECT_STREQ(error.what(), "needs 3 GB");
}

// Scripts rely on these numbers; the list is the one of the command line's documentation.
TEST(ExitCode, NumbersAreThoseThatScriptsRelyOn) {
  EXPECT_EQ(static_cast<int>(ExitCode::ok), 0);
  EXPECT_EQ(static_cast<int>(ExitCode::internal_error), 1);
  EXPECT_EQ(static_cast<int>(ExitCode::usage), 2);
  EXPECT_EQ(static_cast<int>(ExitCode::invalid_schedule), 3);
  EXPECT_EQ(static_cast<int>(ExitCode::infeasible), 4);
  EXPECT_EQ(static_cast<int>(ExitCode::input_output), 5);
  EXPECT_EQ(static_cast<int>(ExitCode::outside_tolerance), 6);
  EXPECT_EQ(static_cast<int>(ExitCode::timeout), 86);
  EXPECT_EQ(static_cast<int>(ExitCode::transport), 87);
  EXPECT_EQ(static_cast<int>(ExitCode::callback), 88);
  EXPECT_EQ(static_cast<int>(ExitCode::interrupted), 130);
}

TEST(DidYouMean, OneLetterMissingOrTooManyOrWrong) {
  EXPECT_EQ(did_you_mean("dualpip", families), " (did you mean 'dualpipe'?)");
  EXPECT_EQ(did_you_mean("gppipe", families), " (did you mean 'gpipe'?)");
  EXPECT_EQ(did_you_mean("2f1b", families), " (did you mean '1f1b'?)");
}

TEST(DidYouMean, TakesTheNearestOfSeveral) {
  EXPECT_EQ(did_you_mean("dualpipev2", families), " (did you mean 'dualpipev'?)");
  EXPECT_EQ(did_you_mean("dualpipe", families), " (did you mean 'dualpipe'?)");
}

// "stag" is one letter away, "stxxe" two; which comes first does not matter.
TEST(DidYouMean, CountsALetterTooManyAsOneSlip) {
  constexpr std::array<std::string_view, 2> words{"stxxe", "stag"};
  EXPECT_EQ(did_you_mean("stage", words), " (did you mean 'stag'?)");
}

TEST(DidYouMean, SaysNothingWhenNothingIsNear) {
  EXPECT_EQ(did_you_mean("hanayo-wave", families), "");
  EXPECT_EQ(did_you_mean("gpipe", {}), "");
}

}  // namespace
}  // namespace dualpipe
