#include "runtime/models/layer_norm.h"

#include <span>
#include <string>

#include "runtime/models/float_layout.h"
#include "runtime/models/math.h"
#include "runtime/models/parameters.h"

namespace dualpipe {
LayerNorm::LayerNorm(const LayerNormShape& shape, const std::string& name, Parameters& parameters,
                     FloatLayout& slot_layout)
    : shape_(shape),
      gain_(parameters.add_constant(name + ".gain", shape.width, 1.0F)),
      bias_(parameters.add_constant(name + ".bias", shape.width, 0.0F)),
      normalised_(slot_layout.add(shape.rows * shape.width)),
      deviation_inverse_(slot_layout.add(shape.rows)),
      output_gradient_(slot_layout.add(shape.rows * shape.width)) {}

void LayerNorm::normalise(Math& math, std::span<const float> input, std::span<float> slot) const {
  math.normalise(
      input, {.values = normalised_.in(slot), .deviation_inverse = deviation_inverse_.in(slot)});
}

void LayerNorm::write_output(Math& math, const Parameters& parameters, std::span<const float> slot,
                             std::span<float> output) const {
  math.scale_rows(normalised_.in(slot),
                  {.gain = gain_.in(parameters.values()), .bias = bias_.in(parameters.values())},
                  output);
}

void LayerNorm::backward_input(Math& math, const Parameters& parameters,
                               std::span<const float> slot, std::span<float> input_gradient) const {
  math.norm_backward_input({.normalised = normalised_.in(slot),
                            .deviation_inverse = deviation_inverse_.in(slot),
                            .gain = gain_.in(parameters.values()),
                            .output_gradient = output_gradient_.in(slot)},
                           input_gradient);
}

void LayerNorm::backward_weight(Math& math, std::span<const float> slot,
                                std::span<float> gradient) const {
  math.norm_backward_weight(
      {.normalised = normalised_.in(slot), .output_gradient = output_gradient_.in(slot)},
      {.gain = gain_.in(gradient), .bias = bias_.in(gradient)});
}

}  // namespace dualpipe
