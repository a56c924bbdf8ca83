// The last stage's end of the language model: final norm, linear layer to the vocabulary, loss.

#pragma once

#include <cstdint>
#include <span>

#include "runtime/models/float_layout.h"
#include "runtime/models/layer_norm.h"
#include "runtime/models/linear.h"
#include "runtime/models/math.h"
#include "runtime/models/parameters.h"

namespace dualpipe {

class LanguageHead {
 public:
  // Adds final_norm.* and head.* to the parameters and its places to the slot.
  LanguageHead(const LayerNormShape& shape, Parameters& parameters, FloatLayout& slot_layout);

  // Elements of the largest operand of a product, for Math::reserve(): the logits or the weight.
  [[nodiscard]] static std::size_t operand_size(const LayerNormShape& shape);

  // Every call needs scratch for one residual stream.

  // Puts the logits of the stream into the slot.
  void write_logits(Math& math, const Parameters& parameters, const StageMemory& memory,
                    std::span<const float> stream) const;
  // The loss, `weight` times the sum over rows, to `loss` in the host's memory; the logits become
  // its gradient.
  struct Targets {
    std::span<const std::uint8_t> tokens;  // in the device's memory
    double weight = 0.0;
  };
  void take_loss(Math& math, const Targets& targets, const StageMemory& memory, double& loss) const;
  // Overwrites `stream_gradient`.
  void backward_input(Math& math, const Parameters& parameters, std::span<float> slot,
                      std::span<float> stream_gradient) const;
  // Overwrites the head's places in `gradient`, the stage's.
  void backward_weight(Math& math, const Parameters& parameters, const StageMemory& memory,
                       std::span<float> gradient) const;

 private:
  LayerNorm norm_;
  Linear linear_;
  FloatRange logits_;  // rows x vocabulary; after take_loss() their gradient
  // In the scratch; not in use at the same time as each other.
  FloatRange normed_;
  FloatRange row_losses_;
};

}  // namespace dualpipe
