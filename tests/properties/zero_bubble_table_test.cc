// The zero-bubble paper's table, to the four digits that are published.

#include "tests/support/zero_bubble_table.h"

#include <string>

#include <gtest/gtest.h>

namespace dualpipe {
namespace {

constexpr double last_digit = 0.00005;

class ZeroBubbleTable : public testing::TestWithParam<ZeroBubbleRow> {};

TEST_P(ZeroBubbleTable, HoldsOfTheOrdersThatDoNotLookAtCosts) {
  EXPECT_NEAR(longest_rank_bubble(GetParam(), "1f1b"), GetParam().one_f_one_b, last_digit);
  EXPECT_NEAR(longest_rank_bubble(GetParam(), "zb-h1"), GetParam().zb_h1, last_digit);
  EXPECT_NEAR(longest_rank_bubble(GetParam(), "zb-h2"), GetParam().zb_h2, last_digit);
}

// At P activations the table's bubble is the least there is.
TEST_P(ZeroBubbleTable, HoldsOfZb1p) {
  EXPECT_NEAR(longest_rank_bubble(GetParam(), "zb-1p"), GetParam().zb_1p, last_digit);
}

TEST_P(ZeroBubbleTable, IsReachedOrBeatenByZb2p) {
  EXPECT_LE(longest_rank_bubble(GetParam(), "zb-2p"), GetParam().zb_2p + last_digit);
}

std::string instance_name(const testing::TestParamInfo<ZeroBubbleRow>& info) {
  return std::to_string(info.index + 1) + "_of_" + std::to_string(info.param.shape.ranks) +
         "_ranks_" + std::to_string(info.param.shape.microbatches) + "_microbatches";
}

INSTANTIATE_TEST_SUITE_P(Rows, ZeroBubbleTable, testing::ValuesIn(zero_bubble_table),
                         instance_name);

}  // namespace
}  // namespace dualpipe
