#include "runtime/models/adamw.h"

#include <cmath>
#include <cstddef>
#include <span>

#include "costs/check.h"
#include "runtime/models/float_array.h"
#include "runtime/models/parameters.h"

namespace dualpipe {

void AdamW::allocate(std::size_t parameter_count) {
  first_moment_ = FloatArray(parameter_count);
  second_moment_ = FloatArray(parameter_count);
}

void AdamW::apply(std::span<const float> gradient, Parameters& parameters) {
  CHECK(gradient.size() == first_moment_.values().size());
  CHECK(gradient.size() == parameters.values().size());
  ++step_;
  const double step = static_cast<double>(step_);
  const double second_correction = 1.0 - std::pow(options_.beta2, step);
  const double rate = options_.learning_rate / (1.0 - std::pow(options_.beta1, step));
  const float beta1 = static_cast<float>(options_.beta1);
  const float beta2 = static_cast<float>(options_.beta2);
  const float second_scale = static_cast<float>(1.0 / second_correction);
  const float first_rate = static_cast<float>(rate);
  const float epsilon = static_cast<float>(options_.epsilon);
  for (const Tensor& tensor : parameters.tensors()) {
    const double decay = tensor.decays ? options_.learning_rate * options_.weight_decay : 0.0;
    const float kept = static_cast<float>(1.0 - decay);
    const std::span<float> values = tensor.range.in(parameters.values());
    const std::span<const float> slopes = tensor.range.in(gradient);
    const std::span<float> first = tensor.range.in(first_moment_.values());
    const std::span<float> second = tensor.range.in(second_moment_.values());
    for (std::size_t element = 0; element < values.size(); ++element) {
      const float slope = slopes[element];
      first[element] = beta1 * first[element] + (1.0F - beta1) * slope;
      second[element] = beta2 * second[element] + (1.0F - beta2) * slope * slope;
      const float size = std::sqrt(second[element] * second_scale) + epsilon;
      values[element] = kept * values[element] - first_rate * first[element] / size;
    }
  }
}

}  // namespace dualpipe
