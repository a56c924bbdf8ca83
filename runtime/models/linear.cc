#include "runtime/models/linear.h"

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>

#include "costs/check.h"
#include "runtime/models/float_array.h"
#include "runtime/models/gemm.h"
#include "runtime/models/parameters.h"

namespace dualpipe {
namespace {

ConstMatrix matrix(std::span<const float> values, std::size_t rows, std::size_t columns) {
  CHECK(values.size() == rows * columns);
  return {.data = values.data(), .rows = rows, .columns = columns, .stride = columns};
}

Matrix matrix(std::span<float> values, std::size_t rows, std::size_t columns) {
  CHECK(values.size() == rows * columns);
  return {.data = values.data(), .rows = rows, .columns = columns, .stride = columns};
}

void add_to(std::span<float> sum, std::span<const float> values) {
  for (std::size_t column = 0; column < sum.size(); ++column) {
    sum[column] += values[column];
  }
}

}  // namespace

Linear::Linear(const LinearShape& shape, const std::string& name, double deviation,
               Parameters& parameters)
    : shape_(shape),
      weight_(parameters.add_weight(name + ".weight", shape.inputs * shape.outputs, deviation)),
      bias_(parameters.add_constant(name + ".bias", shape.outputs, 0.0F)) {}

void Linear::add_product(const Parameters& parameters, std::span<const float> input,
                         std::span<float> output) const {
  multiply({.left = matrix(input, shape_.rows, shape_.inputs),
            .right = matrix(weight_.in(parameters.values()), shape_.inputs, shape_.outputs),
            .keep = 1.0F},
           matrix(output, shape_.rows, shape_.outputs));
}

void Linear::forward(const Parameters& parameters, std::span<const float> input,
                     std::span<float> output) const {
  const std::span<const float> bias = bias_.in(parameters.values());
  for (std::size_t row = 0; row < shape_.rows; ++row) {
    std::ranges::copy(bias, output.subspan(row * shape_.outputs).begin());
  }
  add_product(parameters, input, output);
}

void Linear::forward_add(const Parameters& parameters, std::span<const float> input,
                         std::span<float> output) const {
  const std::span<const float> bias = bias_.in(parameters.values());
  for (std::size_t row = 0; row < shape_.rows; ++row) {
    add_to(output.subspan(row * shape_.outputs, shape_.outputs), bias);
  }
  add_product(parameters, input, output);
}

void Linear::backward_input(const Parameters& parameters, std::span<const float> output_gradient,
                            std::span<float> input_gradient) const {
  const ConstMatrix weight = matrix(weight_.in(parameters.values()), shape_.inputs, shape_.outputs);
  multiply(
      {.left = matrix(output_gradient, shape_.rows, shape_.outputs), .right = transposed(weight)},
      matrix(input_gradient, shape_.rows, shape_.inputs));
}

void Linear::backward_weight(const Operands& operands, std::span<float> gradient) const {
  const std::span<float> bias_gradient = bias_.in(gradient);
  std::ranges::fill(bias_gradient, 0.0F);
  for (std::size_t row = 0; row < shape_.rows; ++row) {
    add_to(bias_gradient, operands.output_gradient.subspan(row * shape_.outputs, shape_.outputs));
  }
  multiply({.left = transposed(matrix(operands.input, shape_.rows, shape_.inputs)),
            .right = matrix(operands.output_gradient, shape_.rows, shape_.outputs)},
           matrix(weight_.in(gradient), shape_.inputs, shape_.outputs));
}

}  // namespace dualpipe
