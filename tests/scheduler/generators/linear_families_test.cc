// ZB-H1 and ZB-H2 against the reference implementation's orders and the paper's pictures.

#include <string>
#include <string_view>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "scheduler/generate.h"
#include "scheduler/schedule.h"
#include "scheduler/text.h"
#include "tests/support/schedules.h"

namespace dualpipe {
namespace {

using testing::ElementsAre;

std::string csv_of(std::string_view family, const Shape& shape) {
  return to_csv(generate(find_family(family), shape));
}

RankOrders order_of(std::string_view family, const Shape& shape) {
  return generate(find_family(family), shape).ranks;
}

TEST(Golden, ZbH1) {
  EXPECT_EQ(csv_of("zb-h1", {.ranks = 2, .microbatches = 6}), golden("zb-h1_r2_m6.csv"));
  EXPECT_EQ(csv_of("zb-h1", {.ranks = 4, .microbatches = 8}), golden("zb-h1_r4_m8.csv"));
}

TEST(Golden, ZbH2) {
  EXPECT_EQ(csv_of("zb-h2", {.ranks = 2, .microbatches = 6}), golden("zb-h2_r2_m6.csv"));
  EXPECT_EQ(csv_of("zb-h2", {.ranks = 4, .microbatches = 8}), golden("zb-h2_r4_m8.csv"));
}

// By hand, from the rule: as many microbatches ahead as there are ranks below, one weight half held
// back for every rank above.
TEST(ZbH1, HoldsBackOneWeightHalfForEveryRankAbove) {
  EXPECT_THAT(order_of("zb-h1", {.ranks = 3, .microbatches = 4}),
              ElementsAre(slots_of("0F0 0F1 0F2 0I0 0W0 0F3 0I1 0W1 0I2 0W2 0I3 0W3"),
                          slots_of("1F0 1F1 1I0 1F2 1I1 1W0 1F3 1I2 1W1 1I3 1W2 1W3"),
                          slots_of("2F0 2I0 2F1 2I1 2F2 2I2 2W0 2F3 2I3 2W1 2W2 2W3")));
}

TEST(ZbH1, WithFewerMicrobatchesThanRanksRunsWhatThereIs) {
  EXPECT_THAT(
      order_of("zb-h1", {.ranks = 3, .microbatches = 1}),
      ElementsAre(slots_of("0F0 0I0 0W0"), slots_of("1F0 1I0 1W0"), slots_of("2F0 2I0 2W0")));
}

TEST(ZbH2, RunsTwiceAsFarAheadAndHoldsBackTwiceAsMuch) {
  EXPECT_THAT(order_of("zb-h2", {.ranks = 2, .microbatches = 4}),
              ElementsAre(slots_of("0F0 0F1 0F2 0I0 0W0 0F3 0I1 0W1 0I2 0W2 0I3 0W3"),
                          slots_of("1F0 1I0 1F1 1I1 1F2 1I2 1W0 1F3 1I3 1W1 1W2 1W3")));
}

}  // namespace
}  // namespace dualpipe
