#include "render/chunk.h"

#include <cstddef>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/cost_model.h"
#include "costs/error.h"
#include "costs/overlap.h"
#include "render/drawing.h"
#include "render/svg.h"
#include "tests/support/refusal.h"

namespace dualpipe {
namespace {

using testing::HasSubstr;

OverlappedChunks by_hand() {
  return {.compute = {{ChunkPiece::attention_forward, 0, Time(0), Time(40'000)},
                      {ChunkPiece::mlp_weight, 0, Time(50'000), Time(100'000)}},
          .communication = {{ChunkPiece::combine_backward, 0, Time(0), Time(20'000)},
                            {ChunkPiece::boundary, 0, Time(20'000), Time(25'000)}},
          .makespan = Time(100'000)};
}

// 7 inches are 50,400 hundredths of a point. The lanes take all between the label and the margin.
TEST(DrawChunk, PutsEveryPieceAtItsTimeOnItsLane) {
  const Drawing drawing = draw_chunk(by_hand(), "mine", {});
  ASSERT_EQ(drawing.frames.size(), 2U);
  const Frame& lane = drawing.frames[0];
  EXPECT_EQ(drawing.width, 50'400);
  EXPECT_EQ(lane.x + lane.width, 50'400 - point);
  ASSERT_EQ(drawing.cells.size(), 4U + 4U);  // and the legend's
  const Fill& weight = drawing.cells[1].fills[0];
  const Length middle = lane.x + lane.width / 2;
  EXPECT_NEAR(weight.x, middle, 1);
  EXPECT_NEAR(weight.x + weight.width, lane.x + lane.width, 1);
  EXPECT_EQ(weight.label, "MLP(W)");
  EXPECT_EQ(drawing.cells[1].y, lane.y);
  EXPECT_EQ(drawing.cells[2].y, drawing.frames[1].y);
  EXPECT_EQ(drawing.cells[3].fills[0].x,
            drawing.cells[2].fills[0].x + drawing.cells[2].fills[0].width);
  EXPECT_EQ(drawing.title, "mine; compute 90.000 us (90.0%); communication 25.000 us (25.0%)");
}

TEST(DrawChunk, ColoursTellForwardFromBackwardFromTransfers) {
  const Drawing drawing = draw_chunk(by_hand(), "mine", {});
  for (int first = 0; first < 4; ++first) {
    for (int second = 0; second < first; ++second) {
      EXPECT_NE(drawing.cells[static_cast<std::size_t>(first)].fills[0].colour,
                drawing.cells[static_cast<std::size_t>(second)].fills[0].colour);
    }
  }
}

TEST(DrawChunk, IsWrittenAsSvg) {
  const std::string svg = to_svg(draw_chunk(by_hand(), "mine", {}));
  EXPECT_THAT(svg, HasSubstr("<title>ATTN(F) of layer 0, 0 ns to 40.000 us</title>"));
  EXPECT_THAT(svg, HasSubstr(">communication<"));
}

TEST(DrawChunk, RefusesWhatNoFigureHas) {
  EXPECT_THAT(refusal(ExitCode::usage,
                      [] { return draw_chunk(by_hand(), "", {.width_inches = 0.5}).width; }),
              HasSubstr("width from 1 to 100 inches"));
  EXPECT_THAT(
      refusal(ExitCode::usage, [] { return draw_chunk(by_hand(), "", {.style = "none"}).width; }),
      HasSubstr("none"));
}

TEST(ChunkTable, ListsPiecesByTime) {
  EXPECT_EQ(chunk_table(by_hand(), "mine"),
            "mine: 100.000 us; compute 90.000 us (90.0%); communication 25.000 us (25.0%)\n\n"
            "lane           piece       layer  begin (us)  end (us)\n"
            "-------------  ----------  -----  ----------  --------\n"
            "communication  COMBINE(B)      0       0.000    20.000\n"
            "compute        ATTN(F)         0       0.000    40.000\n"
            "communication  PP              0      20.000    25.000\n"
            "compute        MLP(W)          0      50.000   100.000\n");
}

}  // namespace
}  // namespace dualpipe
