// The last stage's end of the language model: final norm, linear layer to the vocabulary, loss.

#pragma once

#include <cstdint>
#include <span>

#include "runtime/models/float_array.h"
#include "runtime/models/layer_norm.h"
#include "runtime/models/linear.h"
#include "runtime/models/parameters.h"

namespace dualpipe {

class LanguageHead {
 public:
  // Adds final_norm.* and head.* to the parameters and its places to the slot.
  LanguageHead(const LayerNormShape& shape, Parameters& parameters, FloatLayout& slot_layout);

  // Every call needs scratch for one residual stream.

  // Puts the logits of the stream into the slot.
  void write_logits(const Parameters& parameters, const StageMemory& memory,
                    std::span<const float> stream) const;
  // The loss, `weight` times the sum over rows; the logits become its gradient.
  [[nodiscard]] double take_loss(std::span<const std::uint8_t> targets, double weight,
                                 std::span<float> slot) const;
  // Overwrites `stream_gradient`.
  void backward_input(const Parameters& parameters, std::span<float> slot,
                      std::span<float> stream_gradient) const;
  // Overwrites the head's places in `gradient`, the stage's.
  void backward_weight(const Parameters& parameters, const StageMemory& memory,
                       std::span<float> gradient) const;

 private:
  LayerNorm norm_;
  Linear linear_;
  FloatRange logits_;  // rows x vocabulary; after take_loss() their gradient
  FloatRange normed_;  // in the scratch
};

}  // namespace dualpipe
