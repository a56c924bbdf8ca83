#include "runtime/stage.h"

#include <cstddef>
#include <span>
#include <vector>

#include "costs/error.h"

namespace dualpipe {
namespace {

[[noreturn]] void refuse_checkpoint() {
  throw Error(ExitCode::usage,
              "this stage cannot be saved or restored; override Stage::save() and restore(), or "
              "train without checkpoints");
}

}  // namespace

void Stage::backward(const BackwardCall& call) {
  backward_input(call.op, call.output_gradient, call.input_gradient);
  backward_weight(call.op, call.gradient);
}

void Stage::forward_overlapped(const ForwardCall& forward_call, Stage& other,
                               const BackwardCall& backward_call) {
  forward(forward_call.op, forward_call.input, forward_call.output);
  other.backward(backward_call);
}

std::vector<std::byte> Stage::save() const {
  refuse_checkpoint();
}

void Stage::restore(std::span<const std::byte> /*state*/) {
  refuse_checkpoint();
}

}  // namespace dualpipe
