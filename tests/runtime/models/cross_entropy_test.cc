#include "runtime/models/cross_entropy.h"

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

namespace dualpipe {
namespace {

// Logits log 1, log 2, log 5 are probabilities 1/8, 2/8, 5/8, whatever is added to all of them.
TEST(CrossEntropy, LossAndGradientByHand) {
  std::vector<float> logits;
  for (const float shift : {0.0F, 100.0F}) {
    for (const float weight : {1.0F, 2.0F, 5.0F}) {
      logits.push_back(std::log(weight) + shift);
    }
  }
  const std::array<std::uint8_t, 2> targets{0, 2};
  EXPECT_NEAR(cross_entropy(targets, 0.5, logits), 0.5 * (std::log(8.0) + std::log(8.0 / 5.0)),
              1e-5);
  const std::array<double, 6> gradient{0.5 * (0.125 - 1.0), 0.5 * 0.25, 0.5 * 0.625,
                                       0.5 * 0.125,         0.5 * 0.25, 0.5 * (0.625 - 1.0)};
  for (std::size_t element = 0; element < gradient.size(); ++element) {
    EXPECT_NEAR(logits[element], gradient[element], 5e-6) << element;
  }
}

}  // namespace
}  // namespace dualpipe
