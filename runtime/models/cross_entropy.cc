#include "runtime/models/cross_entropy.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>

#include "costs/check.h"

namespace dualpipe {

double cross_entropy(std::span<const std::uint8_t> targets, double weight,
                     std::span<float> logits) {
  const std::size_t classes = logits.size() / targets.size();
  double loss = 0.0;
  for (std::size_t row = 0; row < targets.size(); ++row) {
    const std::span<float> values = logits.subspan(row * classes, classes);
    const std::size_t target = targets[row];
    CHECK(target < classes);
    const float largest = *std::ranges::max_element(values);
    const float target_logit = values[target] - largest;
    float sum = 0.0F;
    for (float& value : values) {
      value = std::exp(value - largest);
      sum += value;
    }
    loss += weight * (std::log(static_cast<double>(sum)) - static_cast<double>(target_logit));
    const float scale = static_cast<float>(weight / static_cast<double>(sum));
    for (float& value : values) {
      value *= scale;
    }
    values[target] -= static_cast<float>(weight);
  }
  return loss;
}

}  // namespace dualpipe
