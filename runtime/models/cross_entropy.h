// Softmax with cross-entropy: the loss of the language model.

#pragma once

#include <cstdint>
#include <span>

namespace dualpipe {

// The sum over rows of weight * -log softmax(row)[target], and, in the logits' place, its gradient:
// the loss is where a backward starts, so its slope needs no more than it has at hand. Logits: one
// row per target. Requires: every target is less than the row's length.
[[nodiscard]] double cross_entropy(std::span<const std::uint8_t> targets, double weight,
                                   std::span<float> logits);

}  // namespace dualpipe
