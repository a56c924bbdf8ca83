#include "runtime/models/gelu.h"

#include <cmath>
#include <cstddef>
#include <span>

#include "costs/check.h"

namespace dualpipe {

// (1 + tanh(u)) / 2 = 1 / (1 + exp(-2u)), and exp is several times faster than tanh. An exp that
// overflows gives the right limit, 0.
void gelu(std::span<float> values, std::span<float> output) {
  CHECK(values.size() == output.size());
  constexpr float scale = 1.5957691216057308F;  // 2 sqrt(2 / pi)
  constexpr float cubic = 0.044715F;
  for (std::size_t element = 0; element < values.size(); ++element) {
    const float value = values[element];
    const float square = value * value;
    const float gate = 1.0F / (1.0F + std::exp(-scale * value * (1.0F + cubic * square)));
    const float inner_slope = scale * (1.0F + 3.0F * cubic * square);
    output[element] = value * gate;
    values[element] = gate + value * gate * (1.0F - gate) * inner_slope;
  }
}

}  // namespace dualpipe
