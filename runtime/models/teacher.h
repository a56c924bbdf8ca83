// What the model `mlp` learns: targets that are a fixed random function of random inputs,
// target = tanh(matrix * input). Both are pure functions of (seed, step, microbatch), so the first
// and the last stage agree without a message between them. The matrix has only two different rows,
// over and over: few enough to be learnt in some dozen steps.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "runtime/models/random.h"
#include "runtime/stage.h"

namespace dualpipe {

class Teacher {
 public:
  Teacher(std::uint64_t seed, std::size_t width);

  // Fills `inputs` with whole samples of op's microbatch, standard normal numbers.
  void read_inputs(const StageOp& op, std::span<float> inputs) const;
  // The targets of these inputs. Requires: equal sizes.
  void write_targets(std::span<const float> inputs, std::span<float> targets) const;

 private:
  RandomStream inputs_;
  std::size_t width_;
  std::vector<float> matrix_;  // width x width
};

}  // namespace dualpipe
