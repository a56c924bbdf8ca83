#include "runtime/models/gemm.h"

#include <array>
#include <vector>

#include <gtest/gtest.h>

namespace dualpipe {
namespace {

// [1 2 3; 4 5 6] * [1 0; 2 1; 0 3], by hand.
constexpr std::array<float, 6> left_values{1, 2, 3, 4, 5, 6};
constexpr std::array<float, 6> right_values{1, 0, 2, 1, 0, 3};
constexpr ConstMatrix left{.data = left_values.data(), .rows = 2, .columns = 3, .stride = 3};
constexpr ConstMatrix right{.data = right_values.data(), .rows = 3, .columns = 2, .stride = 2};
const std::vector<float> product{5, 11, 14, 23};

TEST(Gemm, MultipliesByHand) {
  std::vector<float> result(4, -1.0F);
  multiply({.left = left, .right = right}, {result.data(), 2, 2, 2});
  EXPECT_EQ(result, product);
}

TEST(Gemm, ScalesAndKeepsTheOldResult) {
  std::vector<float> result{1, 2, 3, 4};
  multiply({.left = left, .right = right, .scale = 2.0F, .keep = 1.0F}, {result.data(), 2, 2, 2});
  EXPECT_EQ(result, (std::vector<float>{11, 24, 31, 50}));
}

TEST(Gemm, TakesTransposedOperands) {
  const std::array<float, 6> left_columns{1, 4, 2, 5, 3, 6};
  const std::array<float, 6> right_columns{1, 2, 0, 0, 1, 3};
  std::vector<float> result(4);
  multiply(
      {.left = transposed({.data = left_columns.data(), .rows = 3, .columns = 2, .stride = 2}),
       .right = transposed({.data = right_columns.data(), .rows = 2, .columns = 3, .stride = 3})},
      {result.data(), 2, 2, 2});
  EXPECT_EQ(result, product);
}

TEST(Gemm, WritesIntoPartOfALargerMatrix) {
  std::vector<float> result(6, -1.0F);
  multiply({.left = left, .right = right}, {result.data(), 2, 2, 3});
  EXPECT_EQ(result, (std::vector<float>{5, 11, -1, 14, 23, -1}));
}

TEST(Gemm, OneThreadCanBeAskedForMoreThanOnce) {
  use_one_blas_thread();
  use_one_blas_thread();
}

TEST(GemmDeathTest, ShapesThatDoNotFitAreABug) {
  std::vector<float> result(4);
  EXPECT_DEATH(multiply({.left = left, .right = left}, {result.data(), 2, 2, 2}), "failed");
}

}  // namespace
}  // namespace dualpipe
