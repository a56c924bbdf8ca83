#include "runtime/models/language_head.h"

#include <algorithm>
#include <cstddef>
#include <span>

#include "runtime/models/embedding.h"
#include "runtime/models/float_layout.h"
#include "runtime/models/layer_norm.h"
#include "runtime/models/math.h"
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
      normed_{.offset = 0, .size = shape.rows * shape.width},
      row_losses_{.offset = 0, .size = shape.rows} {}

std::size_t LanguageHead::operand_size(const LayerNormShape& shape) {
  return vocabulary_size * std::max(shape.rows, shape.width);
}

void LanguageHead::write_logits(Math& math, const Parameters& parameters, const StageMemory& memory,
                                std::span<const float> stream) const {
  const std::span<float> normed = normed_.in(memory.scratch);
  norm_.normalise(math, stream, memory.slot);
  norm_.write_output(math, parameters, memory.slot, normed);
  linear_.forward(math, parameters, normed, logits_.in(memory.slot));
}

void LanguageHead::take_loss(Math& math, const Targets& targets, const StageMemory& memory,
                             double& loss) const {
  math.cross_entropy(targets.tokens, targets.weight, logits_.in(memory.slot),
                     {.rows = row_losses_.in(memory.scratch), .total = &loss});
}

void LanguageHead::backward_input(Math& math, const Parameters& parameters, std::span<float> slot,
                                  std::span<float> stream_gradient) const {
  linear_.backward_input(math, parameters, logits_.in(slot), norm_.output_gradient(slot));
  math.zero(stream_gradient);
  norm_.backward_input(math, parameters, slot, stream_gradient);
}

void LanguageHead::backward_weight(Math& math, const Parameters& parameters,
                                   const StageMemory& memory, std::span<float> gradient) const {
  const std::span<float> normed = normed_.in(memory.scratch);
  norm_.write_output(math, parameters, memory.slot, normed);
  linear_.backward_weight(math, {.input = normed, .output_gradient = logits_.in(memory.slot)},
                          gradient);
  norm_.backward_weight(math, memory.slot, gradient);
}

}  // namespace dualpipe
