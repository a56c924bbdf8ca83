#include "render/terminal.h"

#include <algorithm>
#include <cstddef>
#include <sstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/cost_model.h"
#include "costs/error.h"
#include "scheduler/pipeline.h"
#include "tests/render/timelines.h"
#include "trace/timeline.h"

namespace dualpipe {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) {
    lines.push_back(line);
  }
  return lines;
}

// The text that a terminal shows: without escape sequences.
std::string shown(const std::string& text) {
  std::string out;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '\x1b') {
      at = text.find('m', at);
    } else {
      out += text[at];
    }
  }
  return out;
}

TEST(Terminal, DrawsASmallScheduleAsOneWouldByHand) {
  EXPECT_EQ(to_terminal(small_1f1b()),
            "       0.000                       9.000 ms bubble\n"
            "rank 0 F0--F1--........B0------....B1------  33.3%\n"
            "rank 1 ....F0--B0------F1--B1------........  33.3%\n"
            "\n"
            "F forward   B backward   . idle\n");
}

TEST(Terminal, BoxesShrinkWithTheTerminal) {
  EXPECT_EQ(to_terminal(small_1f1b(), {.columns = 34}),
            "       0.000       9.000 ms bubble\n"
            "rank 0 F0F1....B0--..B1--    33.3%\n"
            "rank 1 ..F0B0--F1B1--....    33.3%\n"
            "\n"
            "F forward   B backward   . idle\n");
}

TEST(Terminal, TheHalvesOfAPairAreSmallLetters) {
  const Timeline timeline = timeline_of(pipeline_of(linear_placement(1), 12),
                                        {"0F10@0-1 (0F11;0B0)OVERLAP_F_B@1-4 0I1@4-5 0W1@6-7"});
  EXPECT_THAT(to_terminal(timeline), HasSubstr("rank 0 F10-f11-b0------I1--....W1--"));
  EXPECT_THAT(to_terminal(timeline), HasSubstr("fb overlapped forward & backward"));
}

TEST(Terminal, WhatIsTooWideContinuesInFurtherBlocks) {
  EXPECT_EQ(to_terminal(forwards(50, ms(1)), {.columns = 34}),
            "       0.000      20.000 ms\n"
            "rank 0 FFFFFFFFFFFFFFFFFFFF\n"
            "\n"
            "       20.000     40.000 ms\n"
            "rank 0 FFFFFFFFFFFFFFFFFFFF\n"
            "\n"
            "       40.000     50.000 ms bubble\n"
            "rank 0 FFFFFFFFFF             0.0%\n"
            "\n"
            "F forward   . idle\n");
}

TEST(Terminal, TheDualPipeFigureFitsEightyColumns) {
  const std::string text = to_terminal(simulated("dualpipe", {.ranks = 8, .microbatches = 20}));
  const std::vector<std::string> lines = lines_of(text);
  ASSERT_EQ(lines.size(), 12U) << "one block";
  for (std::size_t rank = 0; rank < 8; ++rank) {
    const std::string row = lines[rank + 1].substr(7, 66);
    EXPECT_EQ(std::count(row.begin(), row.end(), '.'), 6) << "every rank idles 6 of 66 units";
    EXPECT_THAT(lines[rank + 1], testing::EndsWith("   9.1%"));
  }
  EXPECT_THAT(lines[1], StartsWith("rank 0 FFFFFFFFIWFIWFIWFfb-..."));
}

TEST(Terminal, NoLineIsWiderThanTheTerminal) {
  Timeline measured = simulated("dualpipev", {.ranks = 12, .microbatches = 30});
  Time shift{};
  for (std::vector<Span>& spans : measured.ranks) {
    for (Span& span : spans) {
      shift += Time(span.begin.count() % 977 * 100 + 13);
      span.begin += shift;
      span.end += shift;
    }
  }
  const std::vector<Timeline> timelines{
      small_1f1b(), measured, simulated("dualpipe", {.ranks = 8, .microbatches = 20}),
      simulated("interleaved", {.ranks = 4, .microbatches = 8, .chunks = 2}),
      forwards(100'000, Time(7))};
  for (const Timeline& timeline : timelines) {
    for (const int columns : {35, 80, 81, 132, 400}) {
      for (const bool colour : {false, true}) {
        const std::string text = to_terminal(timeline, {.colour = colour, .columns = columns});
        for (const std::string& line : lines_of(shown(text))) {
          EXPECT_LE(line.size(), static_cast<std::size_t>(columns)) << line;
        }
      }
    }
  }
}

TEST(Terminal, ALongTimelineIsScaledToFourBlocks) {
  const std::string text = to_terminal(forwards(100'000, ms(1)));
  EXPECT_EQ(lines_of(text).size(), 4U * 3U + 1U);
  EXPECT_THAT(text, Not(HasSubstr(".F"))) << "no idle time appears";
}

TEST(Terminal, WithoutColourThereAreNoEscapes) {
  const std::string text = to_terminal(simulated("dualpipe", {.ranks = 8, .microbatches = 20}));
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
}

TEST(Terminal, ColoursAreThoseOfTheStyleAndEndWithTheirBox) {
  const std::string orange = "\x1b[48;2;241;178;56;38;2;0;0;0m";
  const std::string green = "\x1b[48;2;127;214;80;38;2;0;0;0m";
  const std::string reset = "\x1b[0m";
  const Timeline timeline =
      timeline_of(pipeline_of(linear_placement(1), 2), {"0F0@0-1 0B0@1-3 0F1@4-5"});
  const std::vector<std::string> lines = lines_of(to_terminal(timeline, {.colour = true}));
  EXPECT_THAT(lines[1], StartsWith("rank 0 " + orange + " 0  " + green + "   0    " + reset +
                                   "    " + orange + " 1  " + reset + "  "));
}

TEST(Terminal, BoxesOfOneColourThatTouchDifferInShade) {
  const std::string orange = "\x1b[48;2;241;178;56;38;2;0;0;0m";
  const std::string darker = "\x1b[48;2;211;156;49;38;2;0;0;0m";
  const std::vector<std::string> lines =
      lines_of(to_terminal(forwards(3, ms(1)), {.colour = true}));
  EXPECT_THAT(lines[1],
              StartsWith("rank 0 " + orange + " 0  " + darker + " 1  " + orange + " 2  "));
}

TEST(Terminal, ATimelineWithoutTimeHasNoBoxes) {
  const Pipeline pipeline = pipeline_of(linear_placement(2), 1);
  EXPECT_THAT(to_terminal(timeline_of(pipeline, {"", ""})), HasSubstr("rank 1  "));
  EXPECT_THAT(to_terminal(timeline_of(pipeline, {"0F0@1-1", ""})), HasSubstr("F forward"));
}

TEST(Terminal, TooFewColumnsAreRefused) {
  try {
    static_cast<void>(to_terminal(small_1f1b(), {.columns = 33}));
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::usage);
    EXPECT_THAT(error.what(), HasSubstr("expected at least 34"));
  }
}

}  // namespace
}  // namespace dualpipe
