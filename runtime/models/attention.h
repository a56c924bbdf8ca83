// Causal multi-head self-attention between its two linear layers: from the projections to queries,
// keys and values (side by side in one matrix) to the heads' outputs (side by side in one matrix).
// It has no parameters, so its backward is all input half.

#pragma once

#include <cstddef>
#include <span>

#include "runtime/models/float_layout.h"
#include "runtime/models/math.h"

namespace dualpipe {

struct AttentionShape {
  std::size_t samples = 0;
  std::size_t sequence_length = 0;
  std::size_t heads = 0;
  std::size_t head_width = 0;

  [[nodiscard]] std::size_t width() const { return heads * head_width; }
  [[nodiscard]] std::size_t rows() const { return samples * sequence_length; }
  [[nodiscard]] std::size_t scores() const { return sequence_length * sequence_length; }
};

class CausalAttention {
 public:
  // Adds its places to the slot.
  CausalAttention(const AttentionShape& shape, FloatLayout& slot_layout);

  // rows x 3 width: queries, keys, values. Input of forward() and backward().
  [[nodiscard]] std::span<float> projections(std::span<float> slot) const {
    return projections_.in(slot);
  }
  // rows x width. Written by forward().
  [[nodiscard]] std::span<float> output(std::span<float> slot) const { return output_.in(slot); }
  // Like the projections. Written by backward().
  [[nodiscard]] std::span<float> projections_gradient(std::span<float> slot) const {
    return projections_gradient_.in(slot);
  }

  void forward(Math& math, std::span<float> slot) const;
  // Floats of scratch that backward() needs: the scores of a sample's heads.
  [[nodiscard]] static std::size_t scratch_size(const AttentionShape& shape) {
    return shape.heads * shape.scores();
  }
  void backward(Math& math, std::span<const float> output_gradient,
                const StageMemory& memory) const;

 private:
  AttentionShape shape_;
  FloatRange projections_;
  FloatRange probabilities_;  // samples x heads x sequence x sequence; 0 for later positions
  FloatRange output_;
  FloatRange projections_gradient_;
};

}  // namespace dualpipe
