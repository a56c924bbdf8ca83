#include "render/cells.h"

#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/cost_model.h"
#include "render/drawing.h"
#include "render/part.h"
#include "render/style.h"
#include "scheduler/pipeline.h"
#include "tests/render/timelines.h"
#include "trace/timeline.h"

namespace dualpipe {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Le;
using ::testing::SizeIs;

// A strip of 100 points from `from` to `to`, which starts at x = 10 points.
Strip strip_of(Time from, Time to) {
  return {.rank = 0,
          .from = from,
          .to = to,
          .left = 10 * point,
          .right = 110 * point,
          .top = 0,
          .height = 10 * point};
}

std::vector<Cell> cells_of(const Timeline& timeline, const Strip& strip) {
  const Look look{.style = find_style("dualpipe")};
  return cells_of(timeline.ranks.front(), PartSplitter(timeline), strip, look);
}

// "F@10+5": a forward of 5 points at x = 10 points, with a border; merged cells as "f@10+5".
std::vector<std::string> as_text(const std::vector<Cell>& cells) {
  const Palette& palette = find_style("dualpipe").first_chunk;
  std::vector<std::string> all;
  for (const Cell& cell : cells) {
    std::string text;
    for (const Fill& fill : cell.fills) {
      const char letter = fill.colour == palette.forward    ? 'f'
                          : fill.colour == palette.backward ? 'b'
                                                            : 'w';
      text += text.empty() ? "" : " ";
      text += static_cast<char>(cell.bordered ? letter - 'a' + 'A' : letter);
      text += '@' + std::to_string(fill.x / point) + '+' + std::to_string(fill.width / point);
    }
    all.push_back(text);
  }
  return all;
}

TEST(Cells, BoxesStandWhereTheirTimesAreAndIdleTimeIsLeftOut) {
  const Timeline timeline = timeline_of(pipeline_of(linear_placement(1), 3),
                                        {"0F0@0-2 (0F1;0B0)OVERLAP_F_B@2-5 0W1@8-10"});
  EXPECT_THAT(as_text(cells_of(timeline, strip_of(ms(0), ms(10)))),
              ElementsAre("F@10+20", "F@30+10 B@40+20", "W@90+20"))
      << "F and B never run alone both, so the pair is divided one to two";
}

TEST(Cells, ACropCutsBoxesAndHalvesOfPairs) {
  const Timeline timeline = timeline_of(pipeline_of(linear_placement(1), 3),
                                        {"0F0@0-1 (0F1;0B0)OVERLAP_F_B@2-5 0W1@8-10"});
  EXPECT_THAT(as_text(cells_of(timeline, strip_of(ms(4), ms(9)))),
              ElementsAre("B@10+20", "W@90+20"));
}

// A border on each of these would be half of what is seen.
TEST(Cells, NarrowBoxesHaveNoBorder) {
  const Timeline timeline =
      timeline_of(pipeline_of(linear_placement(1), 3), {"0F0@0-1 0F1@1-3 0F2@3-99"});
  EXPECT_THAT(as_text(cells_of(timeline, strip_of(ms(0), ms(100)))),
              ElementsAre("f@10+1", "F@11+2", "F@13+96"));
}

TEST(Cells, SlotsOfNoTimeAreNotDrawn) {
  const Timeline timeline =
      timeline_of(pipeline_of(linear_placement(1), 3), {"0F0@0-1 0F1@1-1 0F2@1-2"});
  EXPECT_THAT(cells_of(timeline, strip_of(ms(0), ms(2))), SizeIs(2));
}

// A strip of 100 points holds 200 of the narrowest cells; the slots are a hundredth of that.
TEST(Cells, SlotsTooNarrowToSeeAreMerged) {
  const Timeline timeline = forwards(20'000, ms(1));
  const std::vector<Cell> cells = cells_of(timeline, strip_of(ms(0), ms(20'000)));
  EXPECT_THAT(cells, SizeIs(testing::AllOf(testing::Ge(100U), Le(200U))));
  Length covered = 0;
  for (const Cell& cell : cells) {
    EXPECT_FALSE(cell.bordered);
    covered += cell.fills.front().width;
  }
  EXPECT_EQ(covered, 100 * point) << "no gaps";
}

TEST(Cells, AMergedCellHasTheColourOfWhatTakesTheMostTime) {
  // A strip of 1000 ms: the narrowest cell is 5 ms. Five slots of 1 ms make one.
  const Timeline timeline =
      timeline_of(pipeline_of(linear_placement(1), 5),
                  {"0F0@0-1 0B0@1-2 0B1@2-3 0B2@3-4 0F1@4-5 0F2@500-501 0W0@501-502 0F3@700-1000"});
  EXPECT_THAT(as_text(cells_of(timeline, strip_of(ms(0), ms(1000)))),
              ElementsAre("b@10+0", "f@60+0", "F@80+30"));
}

TEST(Cells, WhereIdlingTakesTheMostTimeNothingIsDrawn) {
  const Timeline timeline =
      timeline_of(pipeline_of(linear_placement(1), 5), {"0F0@0-0.1 0F1@4-4.1 0F2@8-8.1"});
  EXPECT_THAT(cells_of(timeline, strip_of(ms(0), ms(1000))), IsEmpty());
}

TEST(Cells, OneNarrowSlotAloneIsDrawn) {
  const Timeline timeline =
      timeline_of(pipeline_of(linear_placement(1), 2), {"0F0@500-501 0F1@900-1000"});
  EXPECT_THAT(as_text(cells_of(timeline, strip_of(ms(0), ms(1000)))),
              ElementsAre("f@60+0", "F@100+10"));
}

TEST(Cells, ReverseMicrobatchesAreNumberedOnRequest) {
  const Timeline timeline =
      timeline_of(pipeline_of(bidirectional_placement(2), 4), {"0F1@0-1 1F2@1-2", ""});
  const PartSplitter splitter(timeline);
  const auto labels = [&](bool number_reverse) {
    const Look look{.style = find_style("dualpipe"), .number_reverse = number_reverse};
    const std::vector<Cell> cells =
        cells_of(timeline.ranks.front(), splitter, strip_of(ms(0), ms(2)), look);
    return std::pair(cells[0].fills[0].label, cells[1].fills[0].label);
  };
  EXPECT_EQ(labels(false), (std::pair<std::string, std::string>("1", "")));
  EXPECT_EQ(labels(true), (std::pair<std::string, std::string>("1", "2")));
}

TEST(Cells, AStyleMayWriteWholeOps) {
  const Timeline timeline = timeline_of(pipeline_of(linear_placement(1), 13), {"0F12@0-1"});
  const Look look{.style = find_style("pytorch")};
  const std::vector<Cell> cells =
      cells_of(timeline.ranks.front(), PartSplitter(timeline), strip_of(ms(0), ms(1)), look);
  EXPECT_EQ(cells.front().fills.front().label, "0F12");
}

TEST(Cells, TitlesSayWhatRanWhereAndWhen) {
  const Timeline timeline =
      timeline_of(pipeline_of(linear_placement(1), 4), {"0F3@12-13 (0F1;0B0)OVERLAP_F_B@13-16.5"});
  const Look look{.style = find_style("dualpipe"), .titles = true};
  const std::vector<Cell> cells =
      cells_of(timeline.ranks.front(), PartSplitter(timeline), strip_of(ms(0), ms(20)), look);
  EXPECT_EQ(cells[0].title, "0F3 on rank 0: 12.000-13.000 ms");
  EXPECT_EQ(cells[1].title, "0F1 + 0B0 on rank 0: 13.000-16.500 ms");
}

Cell labelled(Length width, const std::string& label) {
  return {.height = 10 * point,
          .fills = {{.x = 0, .width = width, .colour = {}, .text = {}, .label = label}},
          .title = {}};
}

TEST(Cells, LabelsAreAsLargeAsAskedForWhereThereIsRoom) {
  std::vector<Cell> cells{labelled(50 * point, "0"), labelled(50 * point, "12")};
  EXPECT_EQ(fit_labels(cells, 7 * point), 7 * point);
  EXPECT_EQ(cells[1].fills[0].label, "12");
}

TEST(Cells, LabelsShrinkToFitTheirBoxes) {
  std::vector<Cell> cells(20, labelled(4 * point, "8"));
  const Length size = fit_labels(cells, 7 * point);
  EXPECT_LE(text_width("8", size), 4 * point);
  EXPECT_GE(size, 4 * point);
  EXPECT_EQ(cells[0].fills[0].label, "8");
}

TEST(Cells, LabelsThatWouldBeIllegibleAreLeftOut) {
  std::vector<Cell> cells{labelled(1 * point, "8"), labelled(20 * point, "8")};
  EXPECT_EQ(fit_labels(cells, 7 * point), 7 * point);
  EXPECT_EQ(cells[0].fills[0].label, "");
  EXPECT_EQ(cells[1].fills[0].label, "8");
}

TEST(Cells, NoNumberIsShownInABoxThatCouldNotHoldTheLongest) {
  std::vector<Cell> cells{labelled(4 * point, "8"), labelled(4 * point, "10"),
                          labelled(20 * point, "9")};
  static_cast<void>(fit_labels(cells, 7 * point));
  EXPECT_EQ(cells[0].fills[0].label, "");
  EXPECT_EQ(cells[1].fills[0].label, "");
  EXPECT_EQ(cells[2].fills[0].label, "9");
}

}  // namespace
}  // namespace dualpipe
