// One pre-norm transformer block. The residual stream is updated in place, in both directions:
//
//   stream += linear(attention(linear(norm(stream))))
//   stream += linear(gelu(linear(norm(stream))))
//
// Per element of the stream a slot holds about 23 floats: what the backward reads, and the output
// gradient of every layer with parameters, for the weight half.

#pragma once

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

// Which block of how many; names its tensors and scales what it adds to the stream.
struct BlockPlace {
  std::size_t layer = 0;
  std::size_t layers = 0;
};

class TransformerBlock {
 public:
  // How much wider than the stream the feed-forward layer is.
  static constexpr std::size_t expansion = 4;

  // Adds its tensors to the parameters and its places to the slot.
  TransformerBlock(const AttentionShape& shape, const BlockPlace& place, Parameters& parameters,
                   FloatLayout& slot_layout);

  // Floats of scratch that each of the calls below needs.
  [[nodiscard]] static std::size_t scratch_size(const AttentionShape& shape);

  // Elements of the largest operand of a product, for Math::reserve().
  [[nodiscard]] static std::size_t operand_size(const AttentionShape& shape);

  void forward(Math& math, const Parameters& parameters, const StageMemory& memory,
               std::span<float> stream) const;
  // In: the gradient of the block's output. Out: that of its input.
  void backward_input(Math& math, const Parameters& parameters, const StageMemory& memory,
                      std::span<float> stream_gradient) const;
  // Overwrites this block's places in `gradient`, the stage's.
  void backward_weight(Math& math, const Parameters& parameters, const StageMemory& memory,
                       std::span<float> gradient) const;

 private:
  TransformerBlock(const AttentionShape& shape, const BlockPlace& place, const std::string& name,
                   Parameters& parameters, FloatLayout& slot_layout);

  AttentionShape shape_;
  LayerNorm attention_norm_;
  Linear projection_;
  CausalAttention attention_;
  Linear attention_output_;
  LayerNorm expansion_norm_;
  Linear expansion_;
  Linear contraction_;
  // In the slot.
  FloatRange activated_;             // rows x expansion width: after the unit
  FloatRange slopes_;                // the unit's slopes; then the gradient before the unit
  FloatRange attention_gradient_;    // of what the attention added to the stream
  FloatRange contraction_gradient_;  // of what the feed-forward layers added to the stream
  // In the scratch; not in use at the same time as each other, but for the last two.
  FloatRange wide_;
  FloatRange narrow_;
  FloatRange scores_;
};

}  // namespace dualpipe
