#include "render/svg.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <locale>
#include <map>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/cost_model.h"
#include "render/figure.h"
#include "scheduler/pipeline.h"
#include "scheduler/schedule.h"
#include "tests/render/timelines.h"
#include "tests/render/xml.h"
#include "trace/timeline.h"

namespace dualpipe {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr double rounding = 0.0101;  // coordinates are hundredths of a point

struct Box {
  double x = 0.0;
  double y = 0.0;
  double width = 0.0;
  double height = 0.0;
  std::string fill;
  bool bordered = false;

  [[nodiscard]] bool contains(double at_x, double at_y) const {
    return x <= at_x && at_x <= x + width && y <= at_y && at_y <= y + height;
  }
};

// An SVG, read back: the outer frame, and per rank its boxes from left to right.
struct Picture {
  std::vector<Element> elements;
  Box frame;
  std::vector<std::vector<Box>> ranks;

  Picture(const std::string& svg, int rank_count) : elements(XmlReader(svg).read()) {
    std::vector<Box> boxes;
    for (const Element& element : elements) {
      if (element.name == "rect" && element.attribute("fill") != "#fff") {
        boxes.push_back({.x = element.number("x"),
                         .y = element.number("y"),
                         .width = element.number("width"),
                         .height = element.number("height"),
                         .fill = element.attribute("fill"),
                         .bordered = element.attribute("stroke") != "none"});
      }
    }
    const auto area = [](const Box& box) {
      return box.fill == "none" ? box.width * box.height : 0.0;
    };
    const auto outer = std::max_element(
        boxes.begin(), boxes.end(),
        [&](const Box& left, const Box& right) { return area(left) < area(right); });
    frame = *outer;
    boxes.erase(outer);
    ranks.resize(static_cast<std::size_t>(rank_count));
    for (const Box& box : boxes) {
      const double row = (box.y - frame.y) / frame.height * rank_count;
      if (row > -0.01 && row < rank_count - 0.5) {  // the legend is below
        ranks[static_cast<std::size_t>(std::lround(row))].push_back(box);
      }
    }
  }

  // Widths of a rank's boxes by colour, in shares of the axis.
  [[nodiscard]] std::map<std::string, double> shares(int rank) const {
    std::map<std::string, double> shares;
    for (const Box& box : ranks[static_cast<std::size_t>(rank)]) {
      if (box.fill != "none") {
        shares[box.fill] += box.width / frame.width;
      }
    }
    return shares;
  }

  // The labels within a rank's row, and their colours ("" is black), from left to right.
  [[nodiscard]] std::vector<std::string> labels(int rank) const {
    const double height = frame.height / static_cast<double>(ranks.size());
    const Box row{.x = frame.x,
                  .y = frame.y + height * rank,
                  .width = frame.width,
                  .height = height,
                  .fill = {}};
    std::map<double, std::string> found;
    for (const Element& element : elements) {
      if (element.name == "text" && element.attribute("font-size").empty() &&
          row.contains(element.number("x"), element.number("y"))) {
        found[element.number("x")] = element.text + element.attribute("fill");
      }
    }
    std::vector<std::string> labels;
    for (const auto& [x, label] : found) {
      labels.push_back(label);
    }
    return labels;
  }

  [[nodiscard]] std::vector<std::string> titles() const {
    std::vector<std::string> titles;
    for (const Element& element : elements) {
      if (element.name == "title" && element.parent > 0) {
        titles.push_back(element.text);
      }
    }
    return titles;
  }
};

// The figure of DualPipe's README: 8 ranks, 20 microbatches, F = I = W = 1, a pair 3. It is 66
// units wide, and every rank idles 6 of them. Of the 60, 20 are forwards, and a rank of height h =
// min(r, 7 - r) splits 7 - h backwards into halves (steps 3, 6 and 7 of the schedule).
TEST(Svg, TheDualPipeFigureHasThePublishedWidths) {
  const Picture picture(to_svg(simulated("dualpipe", {.ranks = 8, .microbatches = 20})), 8);
  for (int rank = 0; rank < 8; ++rank) {
    const std::map<std::string, double> shares = picture.shares(rank);
    const double weights = 7.0 - std::min(rank, 7 - rank);
    ASSERT_EQ(shares.size(), 3U) << "rank " << rank;
    EXPECT_NEAR(shares.at("#f1b238"), 20.0 / 66.0, 1e-3) << "rank " << rank;
    EXPECT_NEAR(shares.at("#7fd650"), (40.0 - weights) / 66.0, 1e-3) << "rank " << rank;
    EXPECT_NEAR(shares.at("#77befb"), weights / 66.0, 1e-3) << "rank " << rank;
  }
}

TEST(Svg, TheDualPipeFigureNumbersOneDirectionAlone) {
  const Picture picture(to_svg(simulated("dualpipe", {.ranks = 8, .microbatches = 20})), 8);
  for (int rank = 0; rank < 8; ++rank) {
    std::map<std::string, int> count;
    for (const std::string& label : picture.labels(rank)) {
      ++count[label];
    }
    EXPECT_EQ(count.size(), 10U) << "microbatches 0 to 9";
    for (const auto& [label, times] : count) {
      EXPECT_TRUE(times == 2 || times == 3) << label << ": F and B, or F, I and W";
    }
  }
}

TEST(Svg, BoxesTouchWhereSlotsDoAndIdleTimeIsEmpty) {
  const Picture picture(to_svg(small_1f1b()), 2);
  const double unit = picture.frame.width / 9;
  const std::array<double, 4> begins{0, 1, 4, 7};
  ASSERT_EQ(picture.ranks[0].size(), 4U);
  for (std::size_t box = 0; box < begins.size(); ++box) {
    const double begin = picture.frame.x + begins.at(box) * unit;
    EXPECT_NEAR(picture.ranks[0][box].x, begin, rounding);
    EXPECT_NEAR(picture.ranks[0][box].width, box < 2 ? unit : 2 * unit, 2 * rounding);
    EXPECT_TRUE(picture.ranks[0][box].bordered);
  }
  EXPECT_THAT(picture.labels(0), ElementsAre("0", "1", "0", "1"));
  EXPECT_THAT(picture.labels(1), ElementsAre("0", "0", "1", "1"));
}

TEST(Svg, ALabelIsInTheMiddleOfItsBox) {
  const Picture picture(to_svg(forwards(1, ms(1))), 1);
  const auto label = std::find_if(
      picture.elements.begin(), picture.elements.end(),
      [](const Element& element) { return element.name == "text" && element.text == "0"; });
  ASSERT_NE(label, picture.elements.end());
  const Box& box = picture.ranks[0].front();
  EXPECT_NEAR(label->number("x"), box.x + box.width / 2, rounding);
  const Element& group = picture.elements[static_cast<std::size_t>(label->parent)];
  EXPECT_EQ(group.attribute("text-anchor"), "middle");
  const double half_a_digit = 0.36 * group.number("font-size");
  EXPECT_NEAR(label->number("y"), box.y + box.height / 2 + half_a_digit, rounding);
}

TEST(Svg, APairIsTwoColoursInOneBorder) {
  const Timeline timeline = timeline_of(pipeline_of(linear_placement(1), 2),
                                        {"0F0@0-1 (0F1;0B0)OVERLAP_F_B@1-4 0B1@4-6"});
  const Picture picture(to_svg(timeline), 1);
  const double unit = picture.frame.width / 6;
  ASSERT_EQ(picture.ranks[0].size(), 5U);
  const Box& forward = picture.ranks[0][1];
  const Box& backward = picture.ranks[0][2];
  const Box& border = picture.ranks[0][3];
  EXPECT_EQ(forward.fill, "#f1b238");
  EXPECT_EQ(backward.fill, "#7fd650");
  EXPECT_FALSE(forward.bordered || backward.bordered);
  EXPECT_NEAR(forward.width, unit, 2 * rounding);
  EXPECT_NEAR(backward.width, 2 * unit, 2 * rounding);
  EXPECT_NEAR(backward.x, forward.x + forward.width, rounding);
  EXPECT_EQ(border.fill, "none");
  EXPECT_TRUE(border.bordered);
  EXPECT_NEAR(border.x, forward.x, rounding);
  EXPECT_NEAR(border.width, 3 * unit, 2 * rounding);
}

TEST(Svg, TheSecondChunkIsNumberedInWhite) {
  const Timeline timeline =
      timeline_of(pipeline_of(v_placement(2), 1), {"0F0@0-1 3F0@3-4", "1F0@1-2 2F0@2-3"});
  const Picture picture(to_svg(timeline), 2);
  EXPECT_THAT(picture.labels(0), ElementsAre("0", "0#ffffff"));
  EXPECT_THAT(picture.labels(1), ElementsAre("0", "0#ffffff"));
}

TEST(Svg, HasTheSizeOfThePage) {
  const std::string page = to_svg(small_1f1b());
  EXPECT_THAT(page, HasSubstr(R"( width="504pt" )"));
  EXPECT_THAT(page, HasSubstr(R"( viewBox="0 0 504 )"));
  EXPECT_THAT(to_svg(small_1f1b(), {.width_inches = 3.3}), HasSubstr(R"( width="237.6pt" )"));
}

TEST(Svg, TitlesAreThereForHovering) {
  EXPECT_THAT(Picture(to_svg(small_1f1b()), 2).titles(), Contains("1B0 on rank 1: 2.000-4.000 ms"));
  EXPECT_THAT(Picture(to_svg(small_1f1b(), {.titles = false}), 2).titles(), IsEmpty());
}

TEST(Svg, NamesAreEscaped) {
  Timeline timeline = small_1f1b();
  timeline.pipeline.name = "a<b&\"c\">'d'";
  const std::array panels{Panel{.timeline = timeline, .caption = "x < y & \"z\""}};
  const Picture picture(to_svg(panels), 2);
  EXPECT_EQ(picture.elements[1].name, "title");
  EXPECT_EQ(picture.elements[1].text, "a<b&\"c\">'d': 2 ranks, 2 microbatches");
  EXPECT_TRUE(
      std::any_of(picture.elements.begin(), picture.elements.end(), [](const Element& element) {
        return element.name == "text" && element.text == "x < y & \"z\"";
      }));
}

// XML 1.0 has no way to write most control characters, and its text is UTF-8.
TEST(Svg, WhatXmlCannotHoldIsReplaced) {
  const std::string mark = "\xef\xbf\xbd";
  const auto title = [](const std::string& name) {
    Timeline timeline = small_1f1b();
    timeline.pipeline.name = name;
    const std::string text = XmlReader(to_svg(timeline)).read()[1].text;
    return text.substr(0, text.find(": 2 ranks"));
  };
  EXPECT_EQ(title("bell\x07"), "bell" + mark);
  EXPECT_EQ(title("\xe2\x86\x92 \xf0\x9f\x98\x80"), "\xe2\x86\x92 \xf0\x9f\x98\x80") << "kept";
  EXPECT_EQ(title("cut \xe2\x86"), "cut " + mark + mark);
  EXPECT_EQ(title("\xc0\xaf"), mark + mark) << "overlong";
  EXPECT_EQ(title("\xed\xa0\x80"), mark + mark + mark) << "surrogate";
  EXPECT_EQ(title("\xef\xbf\xbf"), mark + mark + mark) << "not a character";
  EXPECT_EQ(title("\xff"), mark);
}

class GroupedNumbers : public std::numpunct<char> {
 protected:
  [[nodiscard]] char do_decimal_point() const override { return ','; }
  [[nodiscard]] char do_thousands_sep() const override { return '.'; }
  [[nodiscard]] std::string do_grouping() const override { return "\1"; }
};

TEST(Svg, TheSameTimelineGivesTheSameBytesInEveryLocale) {
  const Timeline timeline = simulated("dualpipev", {.ranks = 4, .microbatches = 10});
  const FigureOptions options{.ticks = true};
  const std::string first = to_svg(timeline, options);
  const std::locale before = std::locale::global(std::locale(std::locale(), new GroupedNumbers));
  const std::string second = to_svg(timeline, options);
  std::locale::global(before);
  EXPECT_EQ(first, second);
}

TEST(Svg, ATimelineWithoutTimeIsValid) {
  const Pipeline pipeline = pipeline_of(linear_placement(2), 1);
  const Picture picture(to_svg(timeline_of(pipeline, {"", "1F0@1-1"}), {.ticks = true}), 2);
  EXPECT_THAT(picture.ranks[0], IsEmpty());
  EXPECT_THAT(picture.ranks[1], IsEmpty());
}

TEST(Svg, OneOpFillsTheAxis) {
  const Picture picture(to_svg(forwards(1, Time(1))), 1);
  ASSERT_EQ(picture.ranks[0].size(), 1U);
  EXPECT_EQ(picture.ranks[0][0].x, picture.frame.x);
  EXPECT_EQ(picture.ranks[0][0].width, picture.frame.width);
}

// Times as a machine gives them: gaps of a few nanoseconds, no common unit, steps of hours.
TEST(Svg, MeasuredTimesAreDrawn) {
  Timeline timeline = timeline_of(pipeline_of(linear_placement(1), 3), {""});
  timeline.ranks[0] = {
      {.slot = parse_slot("0F0"), .begin = Time(17), .end = Time(1'000'003)},
      {.slot = parse_slot("0F1"), .begin = Time(1'000'005), .end = Time(1'900'001)},
      {.slot = parse_slot("0F2"), .begin = Time(1'950'777), .end = Time(2'000'017)}};
  const Picture picture(to_svg(timeline), 1);
  ASSERT_EQ(picture.ranks[0].size(), 3U);
  EXPECT_NEAR(picture.ranks[0][1].width / picture.frame.width, 0.45, 1e-3);
  const Picture hours(to_svg(forwards(4, Time(3'600'000'000'000'000))), 1);
  EXPECT_NEAR(hours.ranks[0][3].width, hours.frame.width / 4, 2 * rounding);
}

// Four ranks of a hundred thousand slots: some hundreds of visible columns remain of each.
TEST(Svg, AHugeTimelineStaysSmall) {
  Timeline timeline = forwards(100'000, Time(1'000));
  timeline.pipeline.placement = linear_placement(4);
  timeline.ranks.resize(4, timeline.ranks.front());
  const std::string svg = to_svg(timeline);
  EXPECT_LT(svg.size(), 1'000'000U);
  EXPECT_THAT(svg, Not(HasSubstr("on rank")));
  const Picture picture(svg, 4);
  for (int rank = 0; rank < 4; ++rank) {
    EXPECT_NEAR(picture.shares(rank).at("#f1b238"), 1.0, 1e-6) << "nothing is lost";
  }
}

}  // namespace
}  // namespace dualpipe
