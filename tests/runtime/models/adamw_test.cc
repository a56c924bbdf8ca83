#include "runtime/models/adamw.h"

#include <array>
#include <cmath>
#include <cstddef>
#include <span>
#include <vector>

#include <gtest/gtest.h>

#include "runtime/models/float_layout.h"
#include "runtime/models/parameters.h"
#include "tests/support/host_math.h"

namespace dualpipe {
namespace {

constexpr AdamWOptions options{
    .learning_rate = 0.1, .beta1 = 0.9, .beta2 = 0.99, .epsilon = 1e-8, .weight_decay = 0.5};

// The first step by hand: both corrected moments are those of the gradient itself, so a parameter
// moves by the learning rate against the gradient's sign, after it has lost 0.1 * 0.5 of itself.
TEST(AdamW, FirstStepByHand) {
  Parameters parameters(0);
  static_cast<void>(parameters.add_constant("gain", 2, 1.0F));
  const FloatRange weight = parameters.add_weight("weight", 1, 1.0);
  weight.in(parameters.values())[0] = 2.0F;
  AdamW adamw(options);
  adamw.allocate(host_math().device(), 3);
  adamw.apply(host_math(), std::array<float, 3>{0.25F, -4.0F, 3.0F}, parameters);
  EXPECT_NEAR(parameters.values()[0], 1.0 - 0.1, 1e-6);
  EXPECT_NEAR(parameters.values()[1], 1.0 + 0.1, 1e-6);
  EXPECT_NEAR(parameters.values()[2], 2.0 * (1.0 - 0.05) - 0.1, 1e-6);
}

// Algorithm 2 of Loshchilov and Hutter (2019), line by line and in double precision.
TEST(AdamW, LaterStepsFollowThePapersAlgorithm) {
  Parameters parameters(0);
  const FloatRange weight = parameters.add_weight("weight", 1, 1.0);
  weight.in(parameters.values())[0] = -1.5F;
  AdamW adamw(options);
  adamw.allocate(host_math().device(), 1);
  double theta = -1.5;
  double m = 0.0;
  double v = 0.0;
  const std::vector<float> gradients{1.0F, -0.5F, 0.25F, 3.0F, 0.0F, 0.0F};
  for (std::size_t step = 0; step < gradients.size(); ++step) {
    adamw.apply(host_math(), std::span(gradients).subspan(step, 1), parameters);
    const double g = gradients[step];
    const double t = static_cast<double>(step + 1);
    m = 0.9 * m + 0.1 * g;
    v = 0.99 * v + 0.01 * g * g;
    const double corrected_m = m / (1.0 - std::pow(0.9, t));
    const double corrected_v = v / (1.0 - std::pow(0.99, t));
    theta -= 0.1 * corrected_m / (std::sqrt(corrected_v) + 1e-8) + 0.1 * 0.5 * theta;
    EXPECT_NEAR(parameters.values()[0], theta, 1e-5) << "step " << t;
  }
}

}  // namespace
}  // namespace dualpipe
