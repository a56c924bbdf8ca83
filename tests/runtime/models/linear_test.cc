#include "runtime/models/linear.h"

#include <algorithm>
#include <array>
#include <vector>

#include <gtest/gtest.h>

#include "runtime/models/parameters.h"
#include "tests/support/host_math.h"

namespace dualpipe {
namespace {

// Two rows, two inputs, three outputs. Weight [1 2 3; 4 5 6], bias [10 20 30]; rows [1 2; 3 -1].
class LinearTest : public testing::Test {
 protected:
  LinearTest() : linear_({.rows = 2, .inputs = 2, .outputs = 3}, "layer", 1.0, parameters_) {
    const std::array<float, 9> values{1, 2, 3, 4, 5, 6, 10, 20, 30};
    std::ranges::copy(values, parameters_.values().begin());
  }

  Parameters parameters_{0};
  Linear linear_;
  const std::vector<float> input_{1, 2, 3, -1};
  const std::vector<float> output_gradient_{1, 0, 2, 0, 1, -1};
};

TEST_F(LinearTest, AddsItsTensors) {
  ASSERT_EQ(parameters_.tensors().size(), 2U);
  EXPECT_EQ(parameters_.tensors()[0].name, "layer.weight");
  EXPECT_EQ(parameters_.tensors()[1].name, "layer.bias");
}

TEST_F(LinearTest, ForwardByHand) {
  std::vector<float> output(6, -1.0F);
  linear_.forward(host_math(), parameters_, input_, output);
  EXPECT_EQ(output, (std::vector<float>{19, 32, 45, 9, 21, 33}));
}

TEST_F(LinearTest, ForwardAddKeepsWhatIsThere) {
  std::vector<float> output(6, 100.0F);
  linear_.forward_add(host_math(), parameters_, input_, output);
  EXPECT_EQ(output, (std::vector<float>{119, 132, 145, 109, 121, 133}));
}

TEST_F(LinearTest, InputHalfByHand) {
  std::vector<float> input_gradient(4, -1.0F);
  linear_.backward_input(host_math(), parameters_, output_gradient_, input_gradient);
  EXPECT_EQ(input_gradient, (std::vector<float>{7, 16, -1, -1}));
}

TEST_F(LinearTest, WeightHalfByHandOverwritesItsPlaces) {
  std::vector<float> gradient(9, -1.0F);
  linear_.backward_weight(host_math(), {.input = input_, .output_gradient = output_gradient_},
                          gradient);
  EXPECT_EQ(gradient, (std::vector<float>{1, 3, -1, 2, -1, 5, 1, 1, 1}));
}

}  // namespace
}  // namespace dualpipe
