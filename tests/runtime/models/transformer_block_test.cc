// That the block computes the right numbers is proved by the whole model against the reference, in
// gpt_stage_test.cc. Here is what the stage relies on.

#include "runtime/models/transformer_block.h"

#include <cstdint>
#include <span>
#include <vector>

#include <gtest/gtest.h>

#include "runtime/models/attention.h"
#include "runtime/models/float_layout.h"
#include "runtime/models/parameters.h"
#include "runtime/models/random.h"
#include "tests/support/float_array.h"
#include "tests/support/host_math.h"

namespace dualpipe {
namespace {

constexpr AttentionShape shape{.samples = 2, .sequence_length = 3, .heads = 2, .head_width = 2};

struct Fixture {
  Parameters parameters{1};
  FloatLayout layout;
  TransformerBlock block{shape, {.layer = 1, .layers = 4}, parameters, layout};
  FloatArray slot{layout.size()};
  FloatArray scratch{TransformerBlock::scratch_size(shape)};

  [[nodiscard]] StageMemory memory() {
    return {.slot = slot.values(), .scratch = scratch.values()};
  }
};

std::vector<float> stream(std::uint64_t key) {
  std::vector<float> values(shape.rows() * shape.width());
  std::uint64_t element = 0;
  for (float& value : values) {
    value = static_cast<float>(RandomStream{key}.normal(element++));
  }
  return values;
}

// One that adds nothing lets the stream and its gradient pass untouched.
TEST(TransformerBlock, WithZeroParametersIsTheIdentity) {
  Fixture fixture;
  for (float& value : fixture.parameters.values()) {
    value = 0.0F;
  }
  std::vector<float> values = stream(1);
  fixture.block.forward(host_math(), fixture.parameters, fixture.memory(), values);
  EXPECT_EQ(values, stream(1));
  std::vector<float> gradient = stream(2);
  fixture.block.backward_input(host_math(), fixture.parameters, fixture.memory(), gradient);
  EXPECT_EQ(gradient, stream(2));
}

// Between two calls the scratch means nothing: other microbatches and other blocks use it.
TEST(TransformerBlock, NothingSurvivesInTheScratch) {
  const auto run = [](float spoil) {
    Fixture fixture;
    const auto spoil_scratch = [&] {
      for (float& value : fixture.scratch.values()) {
        value = spoil;
      }
    };
    std::vector<float> values = stream(1);
    spoil_scratch();
    fixture.block.forward(host_math(), fixture.parameters, fixture.memory(), values);
    spoil_scratch();
    fixture.block.backward_input(host_math(), fixture.parameters, fixture.memory(), values);
    spoil_scratch();
    std::vector<float> gradient(fixture.parameters.values().size());
    fixture.block.backward_weight(host_math(), fixture.parameters, fixture.memory(), gradient);
    gradient.insert(gradient.end(), values.begin(), values.end());
    return gradient;
  };
  EXPECT_EQ(run(0.0F), run(1e30F));
}

}  // namespace
}  // namespace dualpipe
