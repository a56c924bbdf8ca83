#include "runtime/models/linear.h"

#include <cstddef>
#include <span>
#include <string>

#include "costs/check.h"
#include "runtime/models/float_layout.h"
#include "runtime/models/math.h"
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

}  // namespace

Linear::Linear(const LinearShape& shape, const std::string& name, double deviation,
               Parameters& parameters)
    : shape_(shape),
      weight_(parameters.add_weight(name + ".weight", shape.inputs * shape.outputs, deviation)),
      bias_(parameters.add_constant(name + ".bias", shape.outputs, 0.0F)) {}

void Linear::add_product(Math& math, const Parameters& parameters, std::span<const float> input,
                         std::span<float> output) const {
  math.multiply({.left = matrix(input, shape_.rows, shape_.inputs),
                 .right = matrix(weight_.in(parameters.values()), shape_.inputs, shape_.outputs),
                 .keep = 1.0F},
                matrix(output, shape_.rows, shape_.outputs));
}

void Linear::forward(Math& math, const Parameters& parameters, std::span<const float> input,
                     std::span<float> output) const {
  math.set_rows(bias_.in(parameters.values()), output);
  add_product(math, parameters, input, output);
}

void Linear::forward_add(Math& math, const Parameters& parameters, std::span<const float> input,
                         std::span<float> output) const {
  math.add_to_rows(bias_.in(parameters.values()), output);
  add_product(math, parameters, input, output);
}

void Linear::backward_input(Math& math, const Parameters& parameters,
                            std::span<const float> output_gradient,
                            std::span<float> input_gradient) const {
  const ConstMatrix weight = matrix(weight_.in(parameters.values()), shape_.inputs, shape_.outputs);
  math.multiply(
      {.left = matrix(output_gradient, shape_.rows, shape_.outputs), .right = transposed(weight)},
      matrix(input_gradient, shape_.rows, shape_.inputs));
}

void Linear::backward_weight(Math& math, const Operands& operands,
                             std::span<float> gradient) const {
  math.sum_rows(operands.output_gradient, bias_.in(gradient));
  math.multiply({.left = transposed(matrix(operands.input, shape_.rows, shape_.inputs)),
                 .right = matrix(operands.output_gradient, shape_.rows, shape_.outputs)},
                matrix(weight_.in(gradient), shape_.inputs, shape_.outputs));
}

}  // namespace dualpipe
