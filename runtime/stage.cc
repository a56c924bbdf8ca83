#include "runtime/stage.h"

namespace dualpipe {

void Stage::backward(const BackwardCall& call) {
  backward_input(call.op, call.output_gradient, call.input_gradient);
  backward_weight(call.op, call.gradient);
}

void Stage::forward_overlapped(const ForwardCall& forward_call, Stage& other,
                               const BackwardCall& backward_call) {
  forward(forward_call.op, forward_call.input, forward_call.output);
  other.backward(backward_call);
}

}  // namespace dualpipe
