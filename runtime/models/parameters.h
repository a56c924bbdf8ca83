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

#include "runtime/device.h"
#include "runtime/models/float_layout.h"

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

  // Moves the values from the host's memory, where they were made, to the device's, where stages
  // compute: values() are there from then on. Once, after the last tensor.
  void move_to(Device& device);

  [[nodiscard]] std::span<const Tensor> tensors() const { return tensors_; }
  [[nodiscard]] std::span<float> values() { return moved_ ? memory_.floats() : std::span(made_); }
  [[nodiscard]] std::span<const float> values() const {
    return moved_ ? std::span<const float>(memory_.floats()) : made_;
  }

 private:
  FloatRange append(std::string name, std::size_t size, bool decays);

  std::uint64_t seed_;
  std::vector<Tensor> tensors_;
  std::vector<float> made_;  // empty once moved
  bool moved_ = false;
  DeviceMemory memory_;
};

}  // namespace dualpipe
