// That the head computes the right numbers is proved by the whole model against the reference, in
// gpt_stage_test.cc.

#include "runtime/models/language_head.h"

#include <array>
#include <cmath>
#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

#include "runtime/models/embedding.h"
#include "runtime/models/float_layout.h"
#include "runtime/models/parameters.h"
#include "tests/support/float_array.h"
#include "tests/support/host_math.h"

namespace dualpipe {
namespace {

// With zero parameters every byte is as likely as any other, and only the head's bias can learn.
TEST(LanguageHead, WithZeroParametersGuessesEvenly) {
  Parameters parameters(1);
  FloatLayout layout;
  const LanguageHead head({.rows = 2, .width = 4}, parameters, layout);
  for (float& value : parameters.values()) {
    value = 0.0F;
  }
  const FloatArray slot(layout.size());
  const FloatArray scratch(8);
  const StageMemory memory{.slot = slot.values(), .scratch = scratch.values()};
  const std::vector<float> stream{1, 2, 3, 4, -1, 0, 1, 5};
  const std::array<std::uint8_t, 2> targets{'a', 'b'};

  head.write_logits(host_math(), parameters, memory, stream);
  double loss = 0.0;
  head.take_loss(host_math(), {.tokens = targets, .weight = 0.5}, memory, loss);
  EXPECT_NEAR(loss, std::log(256.0), 1e-6);

  std::vector<float> stream_gradient(stream.size(), -1.0F);
  head.backward_input(host_math(), parameters, slot.values(), stream_gradient);
  EXPECT_EQ(stream_gradient, std::vector<float>(stream.size(), 0.0F));

  std::vector<float> gradient(parameters.values().size(), -1.0F);
  head.backward_weight(host_math(), parameters, memory, gradient);
  const float* const bias_gradient = gradient.data() + gradient.size() - vocabulary_size;
  EXPECT_FLOAT_EQ(bias_gradient['a'], 0.5F * (2.0F / 256.0F - 1.0F));
  EXPECT_FLOAT_EQ(bias_gradient['c'], 0.5F * 2.0F / 256.0F);
}

}  // namespace
}  // namespace dualpipe
