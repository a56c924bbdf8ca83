#include "runtime/models/teacher.h"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>

#include "costs/check.h"
#include "runtime/models/gemm.h"
#include "runtime/models/math.h"
#include "runtime/models/random.h"
#include "runtime/stage.h"

namespace dualpipe {
namespace {

constexpr std::size_t directions = 2;

}  // namespace

Teacher::Teacher(std::uint64_t seed, std::size_t width)
    : inputs_(RandomStream{seed}.named("inputs")), width_(width), matrix_(width * width) {
  use_one_blas_thread();
  const RandomStream random = RandomStream{seed}.named("teacher");
  const double deviation = 1.0 / std::sqrt(static_cast<double>(width));
  std::uint64_t element = 0;
  for (float& value : matrix_) {
    value = static_cast<float>(deviation * random.normal(element++ % (directions * width)));
  }
}

void Teacher::read_inputs(const StageOp& op, std::span<float> inputs) const {
  const RandomStream random =
      inputs_.child(op.step).child(static_cast<std::uint64_t>(op.microbatch));
  std::uint64_t element = 0;
  for (float& value : inputs) {
    value = static_cast<float>(random.normal(element++));
  }
}

void Teacher::write_targets(std::span<const float> inputs, std::span<float> targets) const {
  CHECK(inputs.size() == targets.size() && inputs.size() % width_ == 0);
  const std::size_t rows = inputs.size() / width_;
  const ConstMatrix samples{
      .data = inputs.data(), .rows = rows, .columns = width_, .stride = width_};
  const ConstMatrix matrix{
      .data = matrix_.data(), .rows = width_, .columns = width_, .stride = width_};
  multiply({.left = samples, .right = transposed(matrix)},
           {.data = targets.data(), .rows = rows, .columns = width_, .stride = width_});
  for (float& target : targets) {
    target = std::tanh(target);
  }
}

}  // namespace dualpipe
