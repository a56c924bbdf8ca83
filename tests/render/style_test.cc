#include "render/style.h"

#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/error.h"
#include "scheduler/op.h"

namespace dualpipe {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(Style, DualpipeHasTheColoursOfItsFigures) {
  const Palette& palette = find_style("dualpipe").first_chunk;
  EXPECT_EQ(to_string(palette.fill(OpKind::forward)), "#f1b238");
  EXPECT_EQ(to_string(palette.fill(OpKind::backward)), "#7fd650");
  EXPECT_EQ(to_string(palette.fill(OpKind::backward_input)), "#7fd650");
  EXPECT_EQ(to_string(palette.fill(OpKind::backward_weight)), "#77befb");
  EXPECT_EQ(to_string(palette.text), "#000000");
  EXPECT_EQ(to_string(find_style("dualpipe").palette(1).text), "#ffffff");
}

TEST(Style, StylesAreSortedByName) {
  EXPECT_TRUE(
      std::is_sorted(styles().begin(), styles().end(),
                     [](const Style& left, const Style& right) { return left.name < right.name; }));
}

// Otherwise a reader could not tell the chunks of a rank apart at all.
TEST(Style, EveryStyleTellsTheChunksApart) {
  for (const Style& style : styles()) {
    const bool by_label = style.label == Label::op;
    const bool by_text = style.first_chunk.text != style.later_chunks.text;
    EXPECT_TRUE(by_label || by_text) << style.name;
  }
}

TEST(Style, AnUnknownNameIsRefusedWithTheNamesThereAre) {
  try {
    static_cast<void>(find_style("megatrom"));
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::usage);
    EXPECT_THAT(error.what(), AllOf(HasSubstr("'megatrom'"), HasSubstr("did you mean 'megatron'"),
                                    HasSubstr("dualpipe, gray")));
  }
}

TEST(Style, AColourIsThreeParts) {
  constexpr Colour colour{0x123456};
  EXPECT_EQ(colour.red(), 0x12U);
  EXPECT_EQ(colour.green(), 0x34U);
  EXPECT_EQ(colour.blue(), 0x56U);
  EXPECT_EQ(to_string(Colour{0x00000a}), "#00000a");
}

}  // namespace
}  // namespace dualpipe
