#include "cli/vary.h"

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/error.h"
#include "tests/support/refusal.h"

namespace dualpipe {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::string> values(const std::string& text) {
  return parse_axis(text).values;
}

std::string refused(const std::string& text) {
  return refusal(ExitCode::usage, [&] { return parse_axis(text); });
}

TEST(ParseAxis, TakesShortAndDottedNames) {
  EXPECT_EQ(parse_axis("ranks=4").key->dotted(), "pipeline.ranks");
  EXPECT_EQ(parse_axis("ranks=4").name, "ranks");
  EXPECT_EQ(parse_axis("costs.p2p=0").key->dotted(), "costs.p2p");
}

TEST(ParseAxis, ListsValuesAndRangesInTheOrderGiven) {
  EXPECT_THAT(values("ranks=16,4,8"), ElementsAre("16", "4", "8"));
  EXPECT_THAT(values("microbatches=16:128:32"), ElementsAre("16", "48", "80", "112"));
  EXPECT_THAT(values("microbatches=8,10:14:2"), ElementsAre("8", "10", "12", "14"));
  EXPECT_THAT(values("microbatches=5:5:1"), ElementsAre("5"));
  EXPECT_THAT(values("schedule=dualpipe,1f1b"), ElementsAre("dualpipe", "1f1b"));
}

// 3 * 0.1 is not 0.3 in binary.
TEST(ParseAxis, CountsInDecimals) {
  EXPECT_THAT(values("costs.p2p=0:0.3:0.1"), ElementsAre("0", "0.1", "0.2", "0.3"));
  EXPECT_THAT(values("costs.p2p=0.95:1.05:0.05"), ElementsAre("0.95", "1", "1.05"));
  EXPECT_THAT(values("costs.forward=9:10.5:.5"), ElementsAre("9", "9.5", "10", "10.5"));
}

TEST(ParseAxis, KeepsListsAndQuotesWhole) {
  EXPECT_THAT(values("costs.forward=1,[1,2.5],3"), ElementsAre("1", "[1,2.5]", "3"));
  EXPECT_THAT(values("memory_limit=8,\"40GiB\""), ElementsAre("8", "\"40GiB\""));
}

TEST(ParseAxis, RefusesWhatNoConfigTakes) {
  EXPECT_THAT(refused("ranks"), HasSubstr("found no '='"));
  EXPECT_THAT(refused("rank=4"), AllOf(HasSubstr("--vary rank=4: "), HasSubstr("did you mean")));
  EXPECT_THAT(refused("ranks=4,x"),
              AllOf(HasSubstr("--vary ranks=4,x: "), HasSubstr("a whole number from 1 to 100000")));
  EXPECT_THAT(refused("ranks=0:4:2"), HasSubstr("found 0"));
  EXPECT_THAT(refused("ranks=4,"), HasSubstr("found"));
  EXPECT_THAT(refused("costs.p2p=-1"), HasSubstr("a number of 0 or more"));
}

TEST(ParseAxis, RefusesBrokenRanges) {
  for (const char* text : {"4:8", "8:4:1", "4:8:0", "4:8:-1", "a:8:1", "4:8:1:1", "::", "1e3:2e3:1",
                           "0:1000000:1", "0:0.1:0.0000000000000001"}) {
    EXPECT_THAT(refused(std::string("microbatches=") + text), HasSubstr("from:to:step")) << text;
  }
}

std::vector<std::vector<std::string_view>> all_points(const std::vector<Axis>& axes) {
  std::vector<std::vector<std::string_view>> points;
  for (std::size_t point = 0; point < count_points(axes); ++point) {
    points.push_back(point_of(axes, point));
  }
  return points;
}

TEST(PointOf, VariesTheLastAxisFastest) {
  const std::vector<Axis> axes{parse_axis("schedule=1f1b,gpipe"), parse_axis("ranks=2,4,8"),
                               parse_axis("costs.p2p=0,0.5")};
  EXPECT_THAT(all_points(axes),
              ElementsAre(ElementsAre("1f1b", "2", "0"), ElementsAre("1f1b", "2", "0.5"),
                          ElementsAre("1f1b", "4", "0"), ElementsAre("1f1b", "4", "0.5"),
                          ElementsAre("1f1b", "8", "0"), ElementsAre("1f1b", "8", "0.5"),
                          ElementsAre("gpipe", "2", "0"), ElementsAre("gpipe", "2", "0.5"),
                          ElementsAre("gpipe", "4", "0"), ElementsAre("gpipe", "4", "0.5"),
                          ElementsAre("gpipe", "8", "0"), ElementsAre("gpipe", "8", "0.5")));
}

TEST(CountPoints, RefusesMoreThanAnyoneCanWaitFor) {
  const Axis thousand = parse_axis("microbatches=1:1000:1");
  EXPECT_EQ(count_points(std::vector<Axis>{thousand, thousand}), 1'000'000U);
  EXPECT_THAT(
      refusal(ExitCode::usage,
              [&] { return count_points(std::vector<Axis>{thousand, thousand, thousand}); }),
      HasSubstr("at most 10000000 points"));
}

}  // namespace
}  // namespace dualpipe
