// The families with several chunks per rank, chunk k of rank r being stage k*P + r, against
// PyTorch's orders and orders drawn by hand.

#include <regex>
#include <sstream>
#include <string>
#include <string_view>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "scheduler/generate.h"
#include "scheduler/pipeline.h"
#include "scheduler/schedule.h"
#include "scheduler/text.h"
#include "tests/support/schedules.h"

namespace dualpipe {
namespace {

using testing::ElementsAre;

RankOrders order_of(std::string_view family, const Shape& shape) {
  return generate(find_family(family), shape).ranks;
}

std::string csv_of(std::string_view family, const Shape& shape) {
  return to_csv(generate(find_family(family), shape));
}

// The ops of one of PyTorch's files: without idle cells, transfers and the like.
std::string computed(const std::string& file) {
  static const std::regex op("\\d+[FBIW]\\d+");
  std::string csv;
  std::istringstream lines(golden("pytorch/" + file));
  for (std::string line; std::getline(lines, line);) {
    std::istringstream cells(line.ends_with('\r') ? line.substr(0, line.size() - 1) : line);
    std::string kept;
    for (std::string cell; std::getline(cells, cell, ',');) {
      if (std::regex_match(cell, op)) {
        kept += (kept.empty() ? "" : ",") + cell;
      }
    }
    csv += kept + "\n";
  }
  return csv;
}

TEST(PyTorch, LoopedBfsIsTheSame) {
  EXPECT_EQ(csv_of("looped-bfs", {.ranks = 2, .microbatches = 4, .chunks = 2}),
            computed("LoopedBFS_pp2_mb4_spr2_compute.csv"));
}

TEST(PyTorch, InterleavedIsTheSame) {
  EXPECT_EQ(csv_of("interleaved", {.ranks = 4, .microbatches = 8, .chunks = 2}),
            computed("Interleaved1F1B_pp4_mb8_spr2_compute.csv"));
}

TEST(PyTorch, InterleavedZeroBubbleIsTheSame) {
  EXPECT_EQ(csv_of("interleaved-zb", {.ranks = 4, .microbatches = 8, .chunks = 2}),
            computed("InterleavedZeroBubble_pp4_mb8_spr2_comms.csv"));
}

TEST(LoopedFamilies, LayTheChunksAroundTheRanks) {
  for (const char* name : {"looped-bfs", "interleaved", "interleaved-zb", "gis", "gis-h"}) {
    const Shape shape{.ranks = 3, .microbatches = 5, .chunks = 4};
    EXPECT_EQ(generate(find_family(name), shape).pipeline.placement, looped_placement(3, 4))
        << name;
  }
}

TEST(LoopedBfs, OfOneChunkIsGPipeWithItsBackwardsReversed) {
  EXPECT_THAT(
      order_of("looped-bfs", {.ranks = 2, .microbatches = 3, .chunks = 1}),
      ElementsAre(slots_of("0F0 0F1 0F2 0B2 0B1 0B0"), slots_of("1F0 1F1 1F2 1B2 1B1 1B0")));
}

// PyTorch's rule for microbatches that P does not divide: one round of all three, and a warm-up of
// 2(P-1-r) forwards after the round's first chunk.
TEST(Interleaved, TakesOneRoundWhereThereIsNoneOfTwo) {
  EXPECT_THAT(order_of("interleaved", {.ranks = 2, .microbatches = 3, .chunks = 2}),
              ElementsAre(slots_of("0F0 0F1 0F2 2F0 2F1 2F2 2B0 2B1 2B2 0B0 0B1 0B2"),
                          slots_of("1F0 1F1 1F2 3F0 3B0 3F1 3B1 3F2 3B2 1B0 1B1 1B2")));
}

// Ours: a round of three and a round of two. The warm-up is that of the longer one.
TEST(Interleaved, TakesRoundsThatDifferByOne) {
  EXPECT_THAT(
      order_of("interleaved", {.ranks = 2, .microbatches = 5, .chunks = 2}),
      ElementsAre(slots_of("0F0 0F1 0F2 2F0 2F1 2F2 2B0 0F3 2B1 0F4 2B2 2F3 0B0 2F4 0B1 0B2 "
                           "2B3 2B4 0B3 0B4"),
                  slots_of("1F0 1F1 1F2 3F0 3B0 3F1 3B1 3F2 3B2 1F3 1B0 1F4 1B1 3F3 1B2 3F4 "
                           "3B3 3B4 1B3 1B4")));
}

TEST(InterleavedZb, OfOneChunkIsZbH1) {
  for (const Shape& shape :
       supported_shapes(find_family("zb-h1"), {.ranks = 6, .microbatches = 15})) {
    EXPECT_EQ(order_of("interleaved-zb", shape), order_of("zb-h1", shape))
        << to_string(find_family("zb-h1"), shape);
  }
}

TEST(Gis, RunsEveryWeightHalfBehindItsInputHalf) {
  EXPECT_THAT(order_of("gis", {.ranks = 2, .microbatches = 2, .chunks = 2}),
              ElementsAre(slots_of("0F0 0F1 2F0 2F1 2I0 2W0 2I1 2W1 0I0 0W0 0I1 0W1"),
                          slots_of("1F0 1F1 3F0 3I0 3W0 3F1 3I1 3W1 1I0 1W0 1I1 1W1")));
}

// Groups of two on four ranks: the chunks change after two microbatches.
TEST(GisH, TurnsToTheNextChunkAfterHalfAsManyMicrobatchesAsRanks) {
  const RankOrders ranks = order_of("gis-h", {.ranks = 4, .microbatches = 4, .chunks = 2});
  EXPECT_EQ(ranks.front(),
            slots_of("0F0 0F1 4F0 4F1 0F2 0F3 4I0 4W0 4F2 4I1 4W1 4F3 0I0 0W0 0I1 0W1 "
                     "4I2 4W2 4I3 4W3 0I2 0W2 0I3 0W3"));
  EXPECT_EQ(ranks.back(),
            slots_of("3F0 3F1 7F0 7I0 7W0 7F1 7I1 7W1 3F2 3I0 3W0 3F3 3I1 3W1 7F2 7I2 7W2 7F3 "
                     "7I3 7W3 3I2 3W2 3I3 3W3"));
}

// Three microbatches in groups of two: four of them, without the last.
TEST(Gis, LeavesTheSurplusOutOfTheLastGroup) {
  EXPECT_THAT(order_of("gis", {.ranks = 2, .microbatches = 3, .chunks = 2}).front(),
              slots_of("0F0 0F1 2F0 2F1 2I0 2W0 0F2 2I1 2W1 0I0 0W0 2F2 0I1 0W1 2I2 2W2 0I2 0W2"));
}

}  // namespace
}  // namespace dualpipe
