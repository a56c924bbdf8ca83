#include "runtime/models/transformer_block.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <string>

#include "runtime/models/attention.h"
#include "runtime/models/float_layout.h"
#include "runtime/models/layer_norm.h"
#include "runtime/models/linear.h"
#include "runtime/models/math.h"
#include "runtime/models/parameters.h"

namespace dualpipe {
namespace {

constexpr double deviation = 0.02;

// GPT-2: each block adds twice to the stream, so the stream's variance stays what it is.
double residual_deviation(const BlockPlace& place) {
  return deviation / std::sqrt(2.0 * static_cast<double>(place.layers));
}

LayerNormShape norm_shape(const AttentionShape& shape) {
  return {.rows = shape.rows(), .width = shape.width()};
}

// A linear layer from `inputs` to `outputs` times the width of the stream.
LinearShape linear_shape(const AttentionShape& shape, std::size_t inputs, std::size_t outputs) {
  return {
      .rows = shape.rows(), .inputs = inputs * shape.width(), .outputs = outputs * shape.width()};
}

}  // namespace

TransformerBlock::TransformerBlock(const AttentionShape& shape, const BlockPlace& place,
                                   Parameters& parameters, FloatLayout& slot_layout)
    : TransformerBlock(shape, place, "block." + std::to_string(place.layer), parameters,
                       slot_layout) {}

TransformerBlock::TransformerBlock(const AttentionShape& shape, const BlockPlace& place,
                                   const std::string& name, Parameters& parameters,
                                   FloatLayout& slot_layout)
    : shape_(shape),
      attention_norm_(norm_shape(shape), name + ".attention_norm", parameters, slot_layout),
      projection_(linear_shape(shape, 1, 3), name + ".projection", deviation, parameters),
      attention_(shape, slot_layout),
      attention_output_(linear_shape(shape, 1, 1), name + ".attention_output",
                        residual_deviation(place), parameters),
      expansion_norm_(norm_shape(shape), name + ".expansion_norm", parameters, slot_layout),
      expansion_(linear_shape(shape, 1, expansion), name + ".expansion", deviation, parameters),
      contraction_(linear_shape(shape, expansion, 1), name + ".contraction",
                   residual_deviation(place), parameters),
      activated_(slot_layout.add(expansion * shape.rows() * shape.width())),
      slopes_(slot_layout.add(activated_.size)),
      attention_gradient_(slot_layout.add(shape.rows() * shape.width())),
      contraction_gradient_(slot_layout.add(shape.rows() * shape.width())),
      wide_{.offset = 0, .size = activated_.size},
      narrow_{.offset = 0, .size = shape.rows() * shape.width()},
      scores_{.offset = narrow_.size, .size = CausalAttention::scratch_size(shape)} {}

std::size_t TransformerBlock::scratch_size(const AttentionShape& shape) {
  const std::size_t narrow = shape.rows() * shape.width();
  return std::max(expansion * narrow, narrow + CausalAttention::scratch_size(shape));
}

// The wide activations, the weights to or from them, or the scores of a sample's heads.
std::size_t TransformerBlock::operand_size(const AttentionShape& shape) {
  const std::size_t wide = expansion * shape.width();
  return std::max({wide * shape.rows(), wide * shape.width(), shape.heads * shape.scores()});
}

void TransformerBlock::forward(Math& math, const Parameters& parameters, const StageMemory& memory,
                               std::span<float> stream) const {
  const std::span<float> slot = memory.slot;
  const std::span<float> normed = narrow_.in(memory.scratch);
  attention_norm_.normalise(math, stream, slot);
  attention_norm_.write_output(math, parameters, slot, normed);
  projection_.forward(math, parameters, normed, attention_.projections(slot));
  attention_.forward(math, slot);
  attention_output_.forward_add(math, parameters, attention_.output(slot), stream);

  expansion_norm_.normalise(math, stream, slot);
  expansion_norm_.write_output(math, parameters, slot, normed);
  expansion_.forward(math, parameters, normed, slopes_.in(slot));
  math.gelu(slopes_.in(slot), activated_.in(slot));
  contraction_.forward_add(math, parameters, activated_.in(slot), stream);
}

void TransformerBlock::backward_input(Math& math, const Parameters& parameters,
                                      const StageMemory& memory,
                                      std::span<float> stream_gradient) const {
  const std::span<float> slot = memory.slot;
  math.copy(stream_gradient, contraction_gradient_.in(slot));
  const std::span<float> activated_gradient = wide_.in(memory.scratch);
  contraction_.backward_input(math, parameters, stream_gradient, activated_gradient);
  const std::span<float> slopes = slopes_.in(slot);
  math.multiply_elements(activated_gradient, slopes);
  expansion_.backward_input(math, parameters, slopes, expansion_norm_.output_gradient(slot));
  expansion_norm_.backward_input(math, parameters, slot, stream_gradient);

  math.copy(stream_gradient, attention_gradient_.in(slot));
  const std::span<float> heads_gradient = narrow_.in(memory.scratch);
  attention_output_.backward_input(math, parameters, stream_gradient, heads_gradient);
  attention_.backward(math, heads_gradient, {.slot = slot, .scratch = scores_.in(memory.scratch)});
  projection_.backward_input(math, parameters, attention_.projections_gradient(slot),
                             attention_norm_.output_gradient(slot));
  attention_norm_.backward_input(math, parameters, slot, stream_gradient);
}

void TransformerBlock::backward_weight(Math& math, const Parameters& parameters,
                                       const StageMemory& memory, std::span<float> gradient) const {
  const std::span<float> slot = memory.slot;
  const std::span<float> normed = narrow_.in(memory.scratch);
  attention_norm_.write_output(math, parameters, slot, normed);
  projection_.backward_weight(
      math, {.input = normed, .output_gradient = attention_.projections_gradient(slot)}, gradient);
  attention_norm_.backward_weight(math, slot, gradient);
  attention_output_.backward_weight(
      math, {.input = attention_.output(slot), .output_gradient = attention_gradient_.in(slot)},
      gradient);

  expansion_norm_.write_output(math, parameters, slot, normed);
  expansion_.backward_weight(math, {.input = normed, .output_gradient = slopes_.in(slot)},
                             gradient);
  expansion_norm_.backward_weight(math, slot, gradient);
  contraction_.backward_weight(
      math, {.input = activated_.in(slot), .output_gradient = contraction_gradient_.in(slot)},
      gradient);
}

}  // namespace dualpipe
