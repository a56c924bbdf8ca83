#include "runtime/models/embedding.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

#include "runtime/models/parameters.h"
#include "tests/support/host_math.h"

namespace dualpipe {
namespace {

constexpr std::size_t width = 2;
// Two samples of two positions; 'a' is at both positions.
constexpr std::array<std::uint8_t, 4> tokens{'a', 'b', 255, 'a'};

struct Fixture {
  Parameters parameters{3};
  Embedding embedding{{.sequence_length = 2, .width = width}, parameters};
};

TEST(Embedding, ARowIsTheSumOfItsTokensAndItsPositions) {
  Fixture fixture;
  std::vector<float> stream(tokens.size() * width);
  fixture.embedding.forward(host_math(), fixture.parameters, tokens, stream);
  for (std::size_t row = 0; row < tokens.size(); ++row) {
    for (std::size_t column = 0; column < width; ++column) {
      const std::size_t position = vocabulary_size + row % 2;
      EXPECT_EQ(stream[row * width + column],
                fixture.parameters.values()[tokens[row] * width + column] +
                    fixture.parameters.values()[position * width + column]);
    }
  }
}

TEST(Embedding, GradientsGatherWhereRowsCameFrom) {
  const Fixture fixture;
  const std::vector<float> slopes{1, 2, 3, 4, 5, 6, 7, 8};
  std::vector<float> gradient(fixture.parameters.values().size(), -1.0F);
  fixture.embedding.backward_weight(host_math(), tokens, slopes, gradient);
  std::vector<float> expected(gradient.size(), 0.0F);
  expected[std::size_t{'a'} * width] = 1 + 7;
  expected[std::size_t{'a'} * width + 1] = 2 + 8;
  expected[std::size_t{'b'} * width] = 3;
  expected[std::size_t{'b'} * width + 1] = 4;
  expected[std::size_t{255} * width] = 5;
  expected[std::size_t{255} * width + 1] = 6;
  const std::vector<float> positions{1 + 5, 2 + 6, 3 + 7, 4 + 8};
  std::copy(positions.begin(), positions.end(), expected.end() - 4);
  EXPECT_EQ(gradient, expected);
}

}  // namespace
}  // namespace dualpipe
