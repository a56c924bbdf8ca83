// The unit of work of a pipeline step, and the one rule that ties ops together: what each op reads
// and what it writes.
//
// Order, communication and memory all follow from that rule. An op may start once what it reads has
// been written; a value read on another rank than the one that wrote it is a transfer; a value
// takes up memory from its write to its last read. So the checker, the simulator and the runtime
// all ask reads() and writes(), and nothing else in the tree says what depends on what.

#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

namespace dualpipe {

enum class OpKind : char {
  forward = 'F',
  backward = 'B',         // whole backward: input and weight gradients together
  backward_input = 'I',   // only what the previous stage waits for
  backward_weight = 'W',  // the rest; may fill a bubble later
};

struct Op {
  int stage = 0;
  OpKind kind = OpKind::forward;
  int microbatch = 0;

  auto operator<=>(const Op&) const = default;
};

enum class ValueKind : std::int8_t {
  activation,       // a stage's output, kept for its own backward
  input_gradient,   // what a stage hands back to the one before it
  weight_operands,  // what backward_input keeps for backward_weight
};

struct Value {
  ValueKind kind = ValueKind::activation;
  int stage = 0;  // the stage that writes it
  int microbatch = 0;

  auto operator<=>(const Value&) const = default;
};

// The values of one op: at most two, held in place, because this is asked for every op of schedules
// with millions of them.
class Values {
 public:
  constexpr void push_back(const Value& value) { values_.at(count_++) = value; }
  [[nodiscard]] constexpr const Value* begin() const { return values_.data(); }
  [[nodiscard]] constexpr const Value* end() const { return values_.data() + count_; }
  [[nodiscard]] constexpr std::size_t size() const { return count_; }
  [[nodiscard]] constexpr bool empty() const { return count_ == 0; }

  using value_type = Value;
  using const_iterator = const Value*;

 private:
  std::array<Value, 2> values_{};
  std::size_t count_ = 0;
};

// A bug of the caller's, found: ends the program, saying which op it is about.
[[noreturn]] void stop_at_unknown_stage(const Op& op, int stages);

// Requires: 0 <= op.stage < stages.
[[nodiscard]] constexpr Values reads(const Op& op, int stages) {
  if (op.stage < 0 || op.stage >= stages) {
    stop_at_unknown_stage(op, stages);
  }
  Values values;
  switch (op.kind) {
    case OpKind::forward:
      if (op.stage > 0) {
        values.push_back({ValueKind::activation, op.stage - 1, op.microbatch});
      }
      break;
    case OpKind::backward:
    case OpKind::backward_input:
      values.push_back({ValueKind::activation, op.stage, op.microbatch});
      if (op.stage < stages - 1) {
        values.push_back({ValueKind::input_gradient, op.stage + 1, op.microbatch});
      }
      break;
    case OpKind::backward_weight:
      values.push_back({ValueKind::weight_operands, op.stage, op.microbatch});
      break;
  }
  return values;
}

[[nodiscard]] constexpr Values writes(const Op& op) {
  Values values;
  switch (op.kind) {
    case OpKind::forward:
      values.push_back({ValueKind::activation, op.stage, op.microbatch});
      break;
    case OpKind::backward:
      values.push_back({ValueKind::input_gradient, op.stage, op.microbatch});
      break;
    case OpKind::backward_input:
      values.push_back({ValueKind::input_gradient, op.stage, op.microbatch});
      values.push_back({ValueKind::weight_operands, op.stage, op.microbatch});
      break;
    case OpKind::backward_weight:
      break;
  }
  return values;
}

// The stage that reads `value` besides the one that wrote it, or -1 if there is none: an activation
// goes to the next stage, an input gradient to the one before. If the two stages live on different
// ranks the value is a message.
[[nodiscard]] constexpr int receiving_stage(const Value& value, int stages) {
  switch (value.kind) {
    case ValueKind::activation:
      return value.stage + 1 < stages ? value.stage + 1 : -1;
    case ValueKind::input_gradient:
      return value.stage - 1;
    case ValueKind::weight_operands:
      return -1;
  }
  return -1;
}

// Text form: stage, kind letter, microbatch. "2F5" is the forward of microbatch 5 on stage 2.
[[nodiscard]] std::string to_string(const Op& op);

// "the activation of 2F5", "the input gradient of stage 3, microbatch 1".
[[nodiscard]] std::string to_string(const Value& value);

// Reads the text form back. Throws Error (invalid_schedule).
[[nodiscard]] Op parse_op(std::string_view text);

}  // namespace dualpipe
