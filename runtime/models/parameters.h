// The parameters of one stage: tensors one behind another in one flat array. The gradient and the
// optimizer's state have the same layout.
//
// A tensor starts from values that are a pure function of (seed, its name). Names are unique in the
// whole model, so a model comes out the same however it is cut into stages.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "runtime/models/float_array.h"

namespace dualpipe {

struct Tensor {
  std::string name;
  FloatRange range;
  bool decays = false;  // subject to weight decay
};

class Parameters {
 public:
  explicit Parameters(std::uint64_t seed) : seed_(seed) {}

  // Appends a tensor of normal numbers with this standard deviation; it decays.
  [[nodiscard]] FloatRange add_weight(std::string name, std::size_t size, double deviation);
  // Appends a gain (1) or a bias (0); it does not decay.
  [[nodiscard]] FloatRange add_constant(std::string name, std::size_t size, float value);

  [[nodiscard]] std::span<const Tensor> tensors() const { return tensors_; }
  [[nodiscard]] std::span<float> values() { return values_; }
  [[nodiscard]] std::span<const float> values() const { return values_; }

 private:
  FloatRange append(std::string name, std::size_t size, bool decays);

  std::uint64_t seed_;
  std::vector<Tensor> tensors_;
  std::vector<float> values_;
};

}  // namespace dualpipe
