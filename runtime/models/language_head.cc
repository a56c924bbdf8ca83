#include "runtime/models/language_head.h"

#include <algorithm>
#include <cstdint>
#include <span>

#include "runtime/models/cross_entropy.h"
#include "runtime/models/embedding.h"
#include "runtime/models/float_array.h"
#include "runtime/models/layer_norm.h"
#include "runtime/models/parameters.h"

namespace dualpipe {
namespace {

constexpr double deviation = 0.02;

}  // namespace

LanguageHead::LanguageHead(const LayerNormShape& shape, Parameters& parameters,
                           FloatLayout& slot_layout)
    : norm_(shape, "final_norm", parameters, slot_layout),
      linear_({.rows = shape.rows, .inputs = shape.width, .outputs = vocabulary_size}, "head",
              deviation, parameters),
      logits_(slot_layout.add(shape.rows * vocabulary_size)),
      normed_{.offset = 0, .size = shape.rows * shape.width} {}

void LanguageHead::write_logits(const Parameters& parameters, const StageMemory& memory,
                                std::span<const float> stream) const {
  const std::span<float> normed = normed_.in(memory.scratch);
  norm_.normalise(stream, memory.slot);
  norm_.write_output(parameters, memory.slot, normed);
  linear_.forward(parameters, normed, logits_.in(memory.slot));
}

double LanguageHead::take_loss(std::span<const std::uint8_t> targets, double weight,
                               std::span<float> slot) const {
  return cross_entropy(targets, weight, logits_.in(slot));
}

void LanguageHead::backward_input(const Parameters& parameters, std::span<float> slot,
                                  std::span<float> stream_gradient) const {
  linear_.backward_input(parameters, logits_.in(slot), norm_.output_gradient(slot));
  std::ranges::fill(stream_gradient, 0.0F);
  norm_.backward_input(parameters, slot, stream_gradient);
}

void LanguageHead::backward_weight(const Parameters& parameters, const StageMemory& memory,
                                   std::span<float> gradient) const {
  const std::span<float> normed = normed_.in(memory.scratch);
  norm_.write_output(parameters, memory.slot, normed);
  linear_.backward_weight({.input = normed, .output_gradient = logits_.in(memory.slot)}, gradient);
  norm_.backward_weight(memory.slot, gradient);
}

}  // namespace dualpipe
