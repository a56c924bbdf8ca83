#include "runtime/models/embedding.h"

#include <cstdint>
#include <span>

#include "runtime/models/math.h"
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

void Embedding::forward(Math& math, const Parameters& parameters,
                        std::span<const std::uint8_t> tokens, std::span<float> stream) const {
  math.embed(tokens,
             {.token = token_.in(parameters.values()),
              .position = position_.in(parameters.values()),
              .width = shape_.width},
             stream);
}

void Embedding::backward_weight(Math& math, std::span<const std::uint8_t> tokens,
                                std::span<const float> stream_gradient,
                                std::span<float> gradient) const {
  math.embed_backward(
      tokens, stream_gradient,
      {.token = token_.in(gradient), .position = position_.in(gradient), .width = shape_.width});
}

}  // namespace dualpipe
