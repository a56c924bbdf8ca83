#include "scheduler/generate.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/error.h"
#include "scheduler/pipeline.h"
#include "scheduler/schedule.h"
#include "scheduler/text.h"
#include "tests/support/refusal.h"
#include "tests/support/schedules.h"

namespace dualpipe {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

std::string csv_of(std::string_view family, const Shape& shape) {
  return to_csv(generate(find_family(family), shape));
}

std::string refusal_of(std::string_view family, const Shape& shape) {
  return refusal(ExitCode::usage, [&] { return generate(find_family(family), shape); });
}

// The files were written by the reference implementations named in each family's `source`.
TEST(Golden, OneFOneB) {
  EXPECT_EQ(csv_of("1f1b", {.ranks = 2, .microbatches = 6}), golden("1f1b_r2_m6.csv"));
  EXPECT_EQ(csv_of("1f1b", {.ranks = 4, .microbatches = 8}), golden("1f1b_r4_m8.csv"));
}

TEST(Golden, GPipe) {
  EXPECT_EQ(csv_of("gpipe", {.ranks = 4, .microbatches = 8}), golden("gpipe_r4_m8.csv"));
}

TEST(Golden, Interleaved) {
  const auto csv = [](int ranks, int microbatches, int chunks) {
    return csv_of("interleaved", {.ranks = ranks, .microbatches = microbatches, .chunks = chunks});
  };
  EXPECT_EQ(csv(2, 6, 2), golden("interleaved_r2_m6_c2.csv"));
  EXPECT_EQ(csv(2, 6, 4), golden("interleaved_r2_m6_c4.csv"));
  EXPECT_EQ(csv(4, 8, 2), golden("interleaved_r4_m8_c2.csv"));
  EXPECT_EQ(csv(4, 8, 4), golden("interleaved_r4_m8_c4.csv"));
}

TEST(Golden, DualPipe) {
  EXPECT_EQ(csv_of("dualpipe", {.ranks = 2, .microbatches = 4}), golden("dualpipe_r2_m4.csv"));
  EXPECT_EQ(csv_of("dualpipe", {.ranks = 4, .microbatches = 12}), golden("dualpipe_r4_m12.csv"));
  EXPECT_EQ(csv_of("dualpipe", {.ranks = 8, .microbatches = 20}), golden("dualpipe_r8_m20.csv"));
}

TEST(Golden, DualPipeV) {
  EXPECT_EQ(csv_of("dualpipev", {.ranks = 2, .microbatches = 4}), golden("dualpipev_r2_m4.csv"));
  EXPECT_EQ(csv_of("dualpipev", {.ranks = 3, .microbatches = 7}), golden("dualpipev_r3_m7.csv"));
  EXPECT_EQ(csv_of("dualpipev", {.ranks = 4, .microbatches = 10}), golden("dualpipev_r4_m10.csv"));
}

// One rank, H = 1: no fill and no drain around the main loop of one unpaired and one paired step.
TEST(DualPipeV, OfOneRankRunsBothChunksThere) {
  const Schedule schedule = generate(find_family("dualpipev"), {.ranks = 1, .microbatches = 2});
  EXPECT_THAT(schedule.ranks,
              ElementsAre(slots_of("0F0 1F0 0F1 1B0 (1F1;0B0)OVERLAP_F_B 1B1 0I1 0W1")));
}

TEST(Families, AreSortedByNameAndFoundByIt) {
  std::vector<std::string_view> names;
  for (const Family* family : families()) {
    names.push_back(family->name);
    EXPECT_EQ(&find_family(family->name), family);
    EXPECT_THAT(family->summary, Not(IsEmpty()));
    EXPECT_THAT(family->source, Not(IsEmpty()));
    EXPECT_THAT(family->requirement, Not(IsEmpty()));
    EXPECT_THAT(family->step_time_formula, Not(IsEmpty()));
  }
  EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));
  EXPECT_THAT(names, ElementsAre("1f1b", "1f1b-v", "bitpipe", "chimera", "chimera-doubling",
                                 "dualpipe", "dualpipev", "gems", "gis", "gis-h", "gpipe", "hanayo",
                                 "interleaved", "interleaved-zb", "looped-bfs", "v-half", "v-min",
                                 "zb-1p", "zb-2p", "zb-h1", "zb-h2", "zb-v"));
}

TEST(Families, AnUnknownNameGetsASuggestionAndTheList) {
  EXPECT_THAT(refusal(ExitCode::usage, [] { return &find_family("dualpip"); }),
              AllOf(HasSubstr("'dualpip'"), HasSubstr("did you mean 'dualpipe'?"),
                    HasSubstr("the schedules are 1f1b, 1f1b-v, bitpipe")));
  EXPECT_THAT(refusal(ExitCode::usage, [] { return &find_family(""); }), HasSubstr("''"));
}

TEST(Generate, NamesTheScheduleAndItsPlacement) {
  const auto generated = [](std::string_view family, const Shape& shape) {
    return generate(find_family(family), shape).pipeline;
  };
  const Pipeline linear = generated("1f1b", {.ranks = 3, .microbatches = 4});
  EXPECT_EQ(linear.name, "1f1b");
  EXPECT_EQ(linear.placement, linear_placement(3));
  EXPECT_THAT(linear.direction, ElementsAre(0, 0, 0, 0));
  EXPECT_EQ(generated("gpipe", {.ranks = 3, .microbatches = 4}).placement, linear_placement(3));
  EXPECT_EQ(generated("interleaved", {.ranks = 2, .microbatches = 4, .chunks = 3}).placement,
            looped_placement(2, 3));
  EXPECT_EQ(generated("dualpipev", {.ranks = 2, .microbatches = 5}).placement, v_placement(2));
  const Pipeline both = generated("dualpipe", {.ranks = 2, .microbatches = 6});
  EXPECT_EQ(both.placement, bidirectional_placement(2));
  EXPECT_THAT(both.direction, ElementsAre(0, 0, 0, 1, 1, 1));
}

TEST(Generate, RefusesNumbersBelowOne) {
  EXPECT_THAT(refusal_of("gpipe", {.ranks = 0, .microbatches = 1}),
              HasSubstr("must be at least 1; found 0, 1 and 1"));
  EXPECT_THAT(refusal_of("gpipe", {.ranks = 1, .microbatches = -4}), HasSubstr("found 1, -4"));
  EXPECT_THAT(refusal_of("interleaved", {.ranks = 1, .microbatches = 1, .chunks = 0}),
              HasSubstr("and 0"));
}

TEST(Generate, RefusesWithTheRequirementAndTheNearestShape) {
  EXPECT_THAT(refusal_of("chimera", {.ranks = 7, .microbatches = 40}),
              AllOf(HasSubstr("chimera requires ranks even"),
                    HasSubstr("found ranks = 7, microbatches = 40, chunks = 1"),
                    HasSubstr("the nearest shape that works: ranks = 8, microbatches = 40")));
}

TEST(Generate, RefusesMoreThanAHundredMillionOps) {
  EXPECT_THAT(refusal_of("gpipe", {.ranks = 2'000'000'000, .microbatches = 2'000'000'000}),
              HasSubstr("at most 100000000 ops are supported"));
  EXPECT_THAT(refusal_of("interleaved", {.ranks = 50'000, .microbatches = 1, .chunks = 50'000}),
              HasSubstr("is too large"));
}

// Looking for a nearest shape must neither take long nor recommend one that is then too large.
TEST(Generate, RefusesHugeShapesQuickly) {
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_THAT(refusal_of("chimera", {.ranks = 1, .microbatches = 25'000'000}),
              AllOf(HasSubstr("chimera requires"), Not(HasSubstr("the nearest shape"))));
  EXPECT_THAT(refusal_of("chimera", {.ranks = 3, .microbatches = 8'333'332}),
              HasSubstr("works: ranks = 2, microbatches = 8333332"));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(2));
}

}  // namespace
}  // namespace dualpipe
