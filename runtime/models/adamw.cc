#include "runtime/models/adamw.h"

#include <cmath>
#include <cstddef>
#include <span>

#include "costs/check.h"
#include "runtime/device.h"
#include "runtime/models/math.h"
#include "runtime/models/parameters.h"

namespace dualpipe {

void AdamW::allocate(Device& device, std::size_t parameter_count) {
  first_moment_ = DeviceMemory(device, parameter_count * sizeof(float));
  second_moment_ = DeviceMemory(device, parameter_count * sizeof(float));
}

void AdamW::apply(Math& math, std::span<const float> gradient, Parameters& parameters) {
  CHECK(gradient.size() == first_moment_.floats().size());
  CHECK(gradient.size() == parameters.values().size());
  ++step_;
  const double step = static_cast<double>(step_);
  const double second_correction = 1.0 - std::pow(options_.beta2, step);
  const double rate = options_.learning_rate / (1.0 - std::pow(options_.beta1, step));
  for (const Tensor& tensor : parameters.tensors()) {
    const double decay = tensor.decays ? options_.learning_rate * options_.weight_decay : 0.0;
    math.adamw({.beta1 = static_cast<float>(options_.beta1),
                .beta2 = static_cast<float>(options_.beta2),
                .second_scale = static_cast<float>(1.0 / second_correction),
                .rate = static_cast<float>(rate),
                .epsilon = static_cast<float>(options_.epsilon),
                .kept = static_cast<float>(1.0 - decay)},
               {.gradient = tensor.range.in(gradient),
                .first_moment = tensor.range.in(first_moment_.floats()),
                .second_moment = tensor.range.in(second_moment_.floats()),
                .values = tensor.range.in(parameters.values())});
  }
}

}  // namespace dualpipe
