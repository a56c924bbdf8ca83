// Layer normalisation (Ba, Kiros, Hinton 2016) over the last dimension, with its backward in two
// halves. It keeps the normalised rows in the slot, not its output: the output is one
// multiplication and one addition away, and the backward needs the normalised rows.

#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "runtime/models/float_layout.h"
#include "runtime/models/math.h"
#include "runtime/models/parameters.h"

namespace dualpipe {

struct LayerNormShape {
  std::size_t rows = 0;
  std::size_t width = 0;
};

class LayerNorm {
 public:
  // Adds `name`.gain and `name`.bias to the parameters and its places to the slot.
  LayerNorm(const LayerNormShape& shape, const std::string& name, Parameters& parameters,
            FloatLayout& slot_layout);

  // Remembers `input`, normalised, in the slot.
  void normalise(Math& math, std::span<const float> input, std::span<float> slot) const;
  // The layer's output for what the slot remembers.
  void write_output(Math& math, const Parameters& parameters, std::span<const float> slot,
                    std::span<float> output) const;

  // Where to put the gradient of the output, before the halves of the backward.
  [[nodiscard]] std::span<float> output_gradient(std::span<float> slot) const {
    return output_gradient_.in(slot);
  }
  // Adds to `input_gradient`: that of the residual stream, which goes around the layer too.
  void backward_input(Math& math, const Parameters& parameters, std::span<const float> slot,
                      std::span<float> input_gradient) const;
  // Overwrites this layer's places in `gradient`, the stage's.
  void backward_weight(Math& math, std::span<const float> slot, std::span<float> gradient) const;

 private:
  LayerNormShape shape_;
  FloatRange gain_;
  FloatRange bias_;
  FloatRange normalised_;         // rows x width
  FloatRange deviation_inverse_;  // rows
  FloatRange output_gradient_;    // rows x width
};

}  // namespace dualpipe
