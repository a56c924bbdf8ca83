#include "render/drawing.h"

#include <gtest/gtest.h>

namespace dualpipe {
namespace {

// Advance widths of DejaVu Sans, in units of 2048 to the em, from its hmtx table.
TEST(Drawing, ATextIsAboutAsWideAsInDejaVuSans) {
  constexpr double digits = 6 * 1303.0 / 2048;                                      // "012345"
  constexpr double word = (1178 + 1253 + 842 + 1675 + 1255 + 842 + 1300) / 2048.0;  // "Forward"
  EXPECT_NEAR(text_width("012345", 10 * point), digits * 10 * point, 0.05 * digits * 10 * point);
  EXPECT_NEAR(text_width("Forward", 10 * point), word * 10 * point, 0.1 * word * 10 * point);
}

TEST(Drawing, AnAccentedLetterIsOneLetter) {
  EXPECT_EQ(text_width("\xc3\xa9", 10 * point), text_width("e", 10 * point));
}

TEST(Drawing, AnEmptyTextHasNoWidth) {
  EXPECT_EQ(text_width("", 10 * point), 0);
}

TEST(Drawing, TheBaselineIsHalfTheHeightOfADigitBelowTheMiddle) {
  EXPECT_EQ(centred_baseline(20 * point, 10 * point), 20 * point + 36 * point / 10);
}

}  // namespace
}  // namespace dualpipe
