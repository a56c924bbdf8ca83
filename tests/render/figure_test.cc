#include "render/figure.h"

#include <algorithm>
#include <array>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/error.h"
#include "render/drawing.h"
#include "render/style.h"
#include "scheduler/pipeline.h"
#include "tests/render/timelines.h"
#include "trace/timeline.h"

namespace dualpipe {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;

Drawing drawn(const Timeline& timeline, const FigureOptions& options = {}) {
  const Panel panel{.timeline = timeline, .caption = {}};
  return draw(std::span(&panel, 1), options);
}

std::vector<std::string> texts_of(const Drawing& drawing) {
  std::vector<std::string> texts;
  for (const Text& text : drawing.texts) {
    texts.push_back(text.content);
  }
  return texts;
}

std::string refusal(const Timeline& timeline, const FigureOptions& options) {
  try {
    static_cast<void>(drawn(timeline, options));
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::usage);
    return error.what();
  }
  return "not refused";
}

// Nothing may stick out of the page.
void expect_within_page(const Drawing& drawing) {
  for (const Cell& cell : drawing.cells) {
    for (const Fill& fill : cell.fills) {
      EXPECT_GE(fill.x, 0);
      EXPECT_LE(fill.x + fill.width, drawing.width);
    }
    EXPECT_LE(cell.y + cell.height, drawing.height);
  }
  for (const Text& text : drawing.texts) {
    const Length width = text_width(text.content, text.size);
    const Length left = text.anchor == Anchor::start    ? text.x
                        : text.anchor == Anchor::middle ? text.x - width / 2
                                                        : text.x - width;
    EXPECT_GE(left, 0) << text.content;
    EXPECT_LE(left + width, drawing.width) << text.content;
    EXPECT_GE(text.y, text.size * 7 / 10) << text.content;
    EXPECT_LE(text.y, drawing.height) << text.content;
  }
  for (const Line& line : drawing.lines) {
    EXPECT_LE(line.x_end, drawing.width);
    EXPECT_LE(line.y_end, drawing.height);
  }
}

TEST(Figure, HasALabelPerRankAnArrowAndALegend) {
  const Drawing drawing = drawn(small_1f1b());
  EXPECT_THAT(texts_of(drawing),
              ElementsAre("Device 0", "Device 1", "Time", "Forward", "Backward"));
  EXPECT_TRUE(drawing.texts.front().bold);
  EXPECT_EQ(std::count_if(drawing.lines.begin(), drawing.lines.end(),
                          [](const Line& line) { return line.arrow; }),
            1);
  EXPECT_EQ(drawing.title, "hand-made: 2 ranks, 2 microbatches");
}

TEST(Figure, TheLegendOfAPairHasTwoTones) {
  const Drawing drawing =
      drawn(timeline_of(pipeline_of(linear_placement(1), 2), {"(0F1;0B0)OVERLAP_F_B@0-3"}));
  EXPECT_THAT(texts_of(drawing), ElementsAre("Device 0", "Time", "Forward", "Backward",
                                             "Overlapped forward & backward"));
  ASSERT_THAT(drawing.cells.back().fills, SizeIs(2));
  const Fill& forward = drawing.cells.back().fills[0];
  const Fill& backward = drawing.cells.back().fills[1];
  EXPECT_EQ(to_string(forward.colour), "#f1b238");
  EXPECT_EQ(to_string(backward.colour), "#7fd650");
  EXPECT_EQ(backward.width, 2 * forward.width);
}

TEST(Figure, IsAsWideAsAskedForAndNothingSticksOut) {
  const Timeline timeline = simulated("dualpipe", {.ranks = 12, .microbatches = 24});
  for (const double width : {1.0, 3.3, 5.0, 7.0, 12.0}) {
    for (const bool ticks : {false, true}) {
      const Drawing drawing = drawn(timeline, {.width_inches = width, .ticks = ticks});
      EXPECT_NEAR(drawing.width, width * 7200, 0.5);
      if (width > 2.0) {  // narrower than the longest line of the legend
        expect_within_page(drawing);
      }
    }
  }
}

TEST(Figure, TextIsLegibleInOneColumnAndOnAPage) {
  const Timeline timeline = simulated("dualpipe", {.ranks = 8, .microbatches = 20});
  for (const double width : {3.3, 7.0}) {
    const Drawing drawing = drawn(timeline, {.width_inches = width});
    EXPECT_GE(drawing.label_size, 4 * point);
    for (const Text& text : drawing.texts) {
      EXPECT_GE(text.size, 6 * point);
    }
  }
}

TEST(Figure, TicksAreRoundTimesInTheUnitOfTheAxis) {
  FigureOptions options{.ticks = true};
  EXPECT_THAT(
      texts_of(drawn(forwards(66, ms(1)), options)),
      ElementsAre("Device 0", "0", "10", "20", "30", "40", "50", "60", "Time (ms)", "Forward"));
  options.from = ms(5.5);
  options.to = ms(6.5);
  EXPECT_THAT(texts_of(drawn(forwards(66, ms(1)), options)),
              ElementsAre("Device 0", "5.5", "5.6", "5.7", "5.8", "5.9", "6", "6.1", "6.2", "6.3",
                          "6.4", "6.5", "Time (ms)", "Forward"));
}

TEST(Figure, ATickAtTheRightEndStaysOnThePage) {
  expect_within_page(drawn(forwards(60, ms(1)), {.ticks = true}));
  expect_within_page(drawn(forwards(60, ms(100)), {.width_inches = 3.3, .ticks = true}));
}

TEST(Figure, PanelsShareOneTimeAxisAndOneLegend) {
  const Timeline predicted = forwards(2, ms(1));
  const Timeline measured = forwards(2, ms(2));
  const std::array panels{Panel{.timeline = predicted, .caption = "Predicted"},
                          Panel{.timeline = measured, .caption = "Measured"}};
  const Drawing drawing = draw(panels, {});
  EXPECT_THAT(texts_of(drawing),
              ElementsAre("Predicted", "Device 0", "Measured", "Device 0", "Time", "Forward"));
  ASSERT_THAT(drawing.frames, SizeIs(2));
  EXPECT_EQ(drawing.frames[0].width, drawing.frames[1].width);
  EXPECT_LT(drawing.frames[0].y + drawing.frames[0].height, drawing.frames[1].y);
  EXPECT_NEAR(drawing.cells[0].fills[0].width, drawing.frames[0].width / 4.0, 1);
  EXPECT_NEAR(drawing.cells[2].fills[0].width, drawing.frames[0].width / 2.0, 1);
}

TEST(Figure, ACropShowsThatTimeAlone) {
  const Drawing drawing = drawn(forwards(10, ms(1)), {.from = ms(3), .to = ms(5)});
  ASSERT_THAT(drawing.cells, SizeIs(3)) << "two boxes and the legend's";
  EXPECT_EQ(drawing.cells[0].fills[0].label, "3");
  EXPECT_NEAR(drawing.cells[0].fills[0].width, drawing.frames[0].width / 2.0, 1);
}

TEST(Figure, TheAxisBeginsWithTheEarliestSlot) {
  const Timeline timeline =
      timeline_of(pipeline_of(linear_placement(2), 1), {"0F0@100-101", "1F0@101-102"});
  const Drawing drawing = drawn(timeline);
  EXPECT_EQ(drawing.cells[0].fills[0].x, drawing.frames[0].x);
  EXPECT_NEAR(drawing.cells[0].fills[0].width, drawing.frames[0].width / 2.0, 1);
}

TEST(Figure, ATimelineWithoutTimeIsAnEmptyGrid) {
  const Pipeline pipeline = pipeline_of(linear_placement(2), 1);
  EXPECT_THAT(texts_of(drawn(timeline_of(pipeline, {"", ""}), {.ticks = true})),
              Contains("Device 1"));
  EXPECT_THAT(texts_of(drawn(timeline_of(pipeline, {"0F0@1-1", ""}))), Contains("Forward"));
}

TEST(Figure, TitlesAreLeftOutOfLongTimelines) {
  const auto has_titles = [](const Drawing& drawing) {
    return !drawing.cells.front().title.empty();
  };
  const int few = static_cast<int>(titles_max);
  EXPECT_TRUE(has_titles(drawn(forwards(few, ms(1)), {.width_inches = 100.0})));
  EXPECT_FALSE(has_titles(drawn(forwards(few + 1, ms(1)), {.width_inches = 100.0})));
  EXPECT_TRUE(has_titles(drawn(forwards(few + 1, ms(1)), {.from = ms(0), .to = ms(9)})));
  EXPECT_FALSE(has_titles(drawn(forwards(3, ms(1)), {.titles = false})));
}

// 300 ranks of 900 boxes, each just wide enough to be drawn on its own: more than a reader's
// program can be expected to open.
TEST(Figure, AFigureOfTooManyBoxesIsRefused) {
  Timeline timeline = forwards(900, ms(1));
  timeline.pipeline.placement = linear_placement(300);
  timeline.ranks.resize(300, timeline.ranks.front());
  EXPECT_THAT(refusal(timeline, {}), HasSubstr("more than 200000 boxes"));
  EXPECT_EQ(refusal(timeline, {.from = ms(0), .to = ms(400)}), "not refused");
}

TEST(Figure, WhatCannotBeDrawnIsRefused) {
  const Timeline timeline = forwards(10, ms(1));
  EXPECT_THAT(refusal(timeline, {.width_inches = 0.5}), HasSubstr("1 to 100 inches, found 0.5"));
  EXPECT_THAT(refusal(timeline, {.width_inches = 1e9}), HasSubstr("1 to 100 inches"));
  EXPECT_THAT(refusal(timeline, {.width_inches = std::numeric_limits<double>::quiet_NaN()}),
              HasSubstr("1 to 100 inches"));
  EXPECT_THAT(refusal(timeline, {.style = "cubist"}), HasSubstr("no style 'cubist'"));
  EXPECT_THAT(refusal(timeline, {.from = ms(5), .to = ms(5)}),
              HasSubstr("from 5.000 ms to 5.000 ms"));
  EXPECT_THAT(refusal(timeline, {.from = ms(11)}), HasSubstr("runs from 0 ns to 10.000 ms"));
  EXPECT_THAT(refusal(timeline, {.to = ms(0)}), Not("not refused"));
}

}  // namespace
}  // namespace dualpipe
