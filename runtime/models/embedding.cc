#include "runtime/models/embedding.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "costs/check.h"
#include "runtime/models/parameters.h"

namespace dualpipe {
namespace {

// Tokens stand out from what the blocks add from the first step on: with 0.02 for both, as in
// GPT-2, a short run without a warm-up of the learning rate has single steps of twice the loss.
constexpr double token_deviation = 0.1;
constexpr double position_deviation = 0.02;

}  // namespace

Embedding::Embedding(const EmbeddingShape& shape, Parameters& parameters)
    : shape_(shape),
      token_(
          parameters.add_weight("embedding.token", vocabulary_size * shape.width, token_deviation)),
      position_(parameters.add_weight("embedding.position", shape.sequence_length * shape.width,
                                      position_deviation)) {}

void Embedding::forward(const Parameters& parameters, std::span<const std::uint8_t> tokens,
                        std::span<float> stream) const {
  CHECK(stream.size() == tokens.size() * shape_.width);
  const std::span<const float> token_table = token_.in(parameters.values());
  const std::span<const float> position_table = position_.in(parameters.values());
  for (std::size_t row = 0; row < tokens.size(); ++row) {
    const std::size_t position = row % shape_.sequence_length;
    const std::span<const float> by_token =
        token_table.subspan(tokens[row] * shape_.width, shape_.width);
    const std::span<const float> by_position =
        position_table.subspan(position * shape_.width, shape_.width);
    const std::span<float> to = stream.subspan(row * shape_.width, shape_.width);
    for (std::size_t column = 0; column < to.size(); ++column) {
      to[column] = by_token[column] + by_position[column];
    }
  }
}

void Embedding::backward_weight(std::span<const std::uint8_t> tokens,
                                std::span<const float> stream_gradient,
                                std::span<float> gradient) const {
  CHECK(stream_gradient.size() == tokens.size() * shape_.width);
  const std::span<float> token_table = token_.in(gradient);
  const std::span<float> position_table = position_.in(gradient);
  std::ranges::fill(token_table, 0.0F);
  std::ranges::fill(position_table, 0.0F);
  for (std::size_t row = 0; row < tokens.size(); ++row) {
    const std::size_t position = row % shape_.sequence_length;
    const std::span<float> by_token = token_table.subspan(tokens[row] * shape_.width, shape_.width);
    const std::span<float> by_position =
        position_table.subspan(position * shape_.width, shape_.width);
    const std::span<const float> slopes = stream_gradient.subspan(row * shape_.width, shape_.width);
    for (std::size_t column = 0; column < slopes.size(); ++column) {
      by_token[column] += slopes[column];
      by_position[column] += slopes[column];
    }
  }
}

}  // namespace dualpipe
