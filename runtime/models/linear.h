// A linear layer, rows x inputs -> rows x outputs, with its backward in two halves. The layer owns
// no memory: its weight and bias are places in the stage's parameters and in their gradient.

#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "runtime/models/float_layout.h"
#include "runtime/models/math.h"
#include "runtime/models/parameters.h"

namespace dualpipe {

struct LinearShape {
  std::size_t rows = 0;
  std::size_t inputs = 0;
  std::size_t outputs = 0;
};

class Linear {
 public:
  // Adds `name`.weight (inputs x outputs, normal with this deviation) and `name`.bias.
  Linear(const LinearShape& shape, const std::string& name, double deviation,
         Parameters& parameters);

  [[nodiscard]] const LinearShape& shape() const { return shape_; }

  // Overwrites `output`; forward_add() adds to it instead, for a residual connection.
  void forward(Math& math, const Parameters& parameters, std::span<const float> input,
               std::span<float> output) const;
  void forward_add(Math& math, const Parameters& parameters, std::span<const float> input,
                   std::span<float> output) const;

  // Overwrites `input_gradient`.
  void backward_input(Math& math, const Parameters& parameters,
                      std::span<const float> output_gradient,
                      std::span<float> input_gradient) const;

  struct Operands {
    std::span<const float> input;
    std::span<const float> output_gradient;
  };
  // Overwrites this layer's places in `gradient`, the stage's.
  void backward_weight(Math& math, const Operands& operands, std::span<float> gradient) const;

 private:
  void add_product(Math& math, const Parameters& parameters, std::span<const float> input,
                   std::span<float> output) const;

  LinearShape shape_;
  FloatRange weight_;
  FloatRange bias_;
};

}  // namespace dualpipe
