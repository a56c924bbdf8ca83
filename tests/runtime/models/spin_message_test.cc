#include "runtime/models/spin_message.h"

#include <stdexcept>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dualpipe {
namespace {

TEST(SpinMessage, SaysWhoWroteIt) {
  const SpinMessage message = spin_message(true, 3, {.step = 7, .microbatch = 5});
  EXPECT_EQ(message.is_gradient, 1U);
  EXPECT_EQ(message.stage, 3U);
  EXPECT_EQ(message.step, 7U);
  EXPECT_EQ(message.microbatch, 5U);
  EXPECT_EQ(message, spin_message(true, 3, {.step = 7, .microbatch = 5, .slot = 2}));
}

TEST(SpinMessage, EveryMessageHasAChecksumOfItsOwn) {
  const SpinMessage message = spin_message(false, 3, {.step = 7, .microbatch = 5});
  EXPECT_NE(message.checksum, spin_message(true, 3, {.step = 7, .microbatch = 5}).checksum);
  EXPECT_NE(message.checksum, spin_message(false, 2, {.step = 7, .microbatch = 5}).checksum);
  EXPECT_NE(message.checksum, spin_message(false, 3, {.step = 6, .microbatch = 5}).checksum);
  EXPECT_NE(message.checksum, spin_message(false, 3, {.step = 7, .microbatch = 4}).checksum);
}

TEST(SpinMessage, AnotherThanTheExpectedIsNamedWithIt) {
  const SpinMessage expected = spin_message(false, 3, {.step = 7, .microbatch = 5});
  EXPECT_NO_THROW(require_same(expected, expected));
  SpinMessage broken = expected;
  broken.checksum[3] ^= 1U;
  EXPECT_THROW(require_same(expected, broken), std::runtime_error);
  try {
    require_same(expected, spin_message(true, 4, {.step = 7, .microbatch = 6}));
    FAIL();
  } catch (const std::runtime_error& error) {
    EXPECT_THAT(error.what(),
                testing::HasSubstr("expected activation of stage 3, microbatch 5, step 7"));
    EXPECT_THAT(error.what(),
                testing::HasSubstr("found gradient of stage 4, microbatch 6, step 7"));
  }
}

}  // namespace
}  // namespace dualpipe
