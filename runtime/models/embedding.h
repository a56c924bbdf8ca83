// Token and learned position embedding: the first stage's way from tokens to the residual stream.
// Tokens are not differentiable, so its backward is all weight half.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "runtime/models/float_layout.h"
#include "runtime/models/math.h"
#include "runtime/models/parameters.h"

namespace dualpipe {

// A token is a byte.
constexpr std::size_t vocabulary_size = 256;

struct EmbeddingShape {
  std::size_t sequence_length = 0;
  std::size_t width = 0;
};

class Embedding {
 public:
  // Adds embedding.token (vocabulary x width) and embedding.position (sequence x width).
  Embedding(const EmbeddingShape& shape, Parameters& parameters);

  // Overwrites `stream`. Tokens: whole samples, one after another.
  void forward(Math& math, const Parameters& parameters, std::span<const std::uint8_t> tokens,
               std::span<float> stream) const;
  // Overwrites the embedding's places in `gradient`, the stage's.
  void backward_weight(Math& math, std::span<const std::uint8_t> tokens,
                       std::span<const float> stream_gradient, std::span<float> gradient) const;

 private:
  EmbeddingShape shape_;
  FloatRange token_;
  FloatRange position_;
};

}  // namespace dualpipe
