#include "runtime/models/teacher.h"

#include <cmath>
#include <cstddef>
#include <vector>

#include <gtest/gtest.h>

#include "runtime/stage.h"

namespace dualpipe {
namespace {

std::vector<float> inputs(const Teacher& teacher, const StageOp& op) {
  std::vector<float> values(24);
  teacher.read_inputs(op, values);
  return values;
}

TEST(Teacher, InputsDependOnSeedStepAndMicrobatchAndNotOnTheSlot) {
  const Teacher teacher(1, 6);
  const std::vector<float> values = inputs(teacher, {2, 3, 0});
  EXPECT_EQ(inputs(teacher, {2, 3, 5}), values);
  EXPECT_NE(inputs(teacher, {2, 4, 0}), values);
  EXPECT_NE(inputs(teacher, {3, 3, 0}), values);
  EXPECT_NE(inputs(Teacher(2, 6), {2, 3, 0}), values);
}

// tanh of a linear function: what a unit input shows of the matrix predicts every other target.
TEST(Teacher, TargetsAreTheTanhOfALinearFunction) {
  constexpr std::size_t width = 6;
  const Teacher teacher(1, width);
  std::vector<float> unit(width * width);
  for (std::size_t row = 0; row < width; ++row) {
    unit[row * width + row] = 1.0F;
  }
  std::vector<float> matrix(unit.size());  // [input][output]
  teacher.write_targets(unit, matrix);
  const std::vector<float> values = inputs(teacher, {2, 3, 0});
  std::vector<float> targets(values.size());
  teacher.write_targets(values, targets);
  for (std::size_t element = 0; element < targets.size(); ++element) {
    const std::size_t row = element / width;
    double sum = 0.0;
    for (std::size_t input = 0; input < width; ++input) {
      sum += static_cast<double>(values[row * width + input]) *
             std::atanh(static_cast<double>(matrix[input * width + element % width]));
    }
    EXPECT_NEAR(targets[element], std::tanh(sum), 1e-5);
  }
}

}  // namespace
}  // namespace dualpipe
