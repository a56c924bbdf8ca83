// A rank's instructions as text, for tests of who writes them.

#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "scheduler/op.h"
#include "scheduler/program.h"
#include "scheduler/schedule.h"

namespace dualpipe {

// "receive a0" posts the receive of the activation of microbatch 0, "await_sent g1" waits for the
// send buffer of the gradient of microbatch 1, "0F0" runs.
inline std::string instructions_of(const Program& program, int rank) {
  std::string text;
  const auto message = [&](std::int32_t index) {
    const Value& value = program.message(index).value;
    return (value.kind == ValueKind::activation ? "a" : "g") + std::to_string(value.microbatch);
  };
  for (const Instruction& instruction : program.instructions(rank)) {
    text += text.empty() ? "" : ", ";
    switch (instruction.kind) {
      case Instruction::Kind::receive:
        text += "receive " + message(instruction.index);
        break;
      case Instruction::Kind::await_received:
        text += "await " + message(instruction.index);
        break;
      case Instruction::Kind::run:
        text += to_string(program.slots(rank)[static_cast<std::size_t>(instruction.index)]);
        break;
      case Instruction::Kind::send:
        text += "send " + message(instruction.index);
        break;
      case Instruction::Kind::await_sent:
        text += "sent " + message(instruction.index);
        break;
      case Instruction::Kind::end_group:
        text += "go";
        break;
    }
  }
  return text;
}

}  // namespace dualpipe
