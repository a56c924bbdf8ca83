// AdamW: Loshchilov and Hutter, "Decoupled weight decay regularization" (2019), algorithm 2.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "runtime/device.h"
#include "runtime/models/math.h"
#include "runtime/models/parameters.h"

namespace dualpipe {

struct AdamWOptions {
  double learning_rate = 1e-3;
  double beta1 = 0.9;   // of the first moment
  double beta2 = 0.95;  // of the second
  double epsilon = 1e-8;
  double weight_decay = 0.1;  // times the learning rate; of the tensors that decay
};

class AdamW {
 public:
  explicit AdamW(const AdamWOptions& options) : options_(options) {}

  // Once, before the first step: the memory of the moments.
  void allocate(Device& device, std::size_t parameter_count);

  // One step; `gradient` has the layout of the parameters.
  void apply(Math& math, std::span<const float> gradient, Parameters& parameters);

  // All that it remembers, for a checkpoint; moments in the device's memory.
  [[nodiscard]] std::uint64_t steps() const { return step_; }
  void set_steps(std::uint64_t steps) { step_ = steps; }
  [[nodiscard]] std::span<float> first_moment() const { return first_moment_.floats(); }
  [[nodiscard]] std::span<float> second_moment() const { return second_moment_.floats(); }

 private:
  AdamWOptions options_;
  std::uint64_t step_ = 0;
  DeviceMemory first_moment_;
  DeviceMemory second_moment_;
};

}  // namespace dualpipe
