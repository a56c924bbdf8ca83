#include "runtime/step_marks.h"

#include <chrono>
#include <cstddef>
#include <cstdint>

#include "runtime/device.h"
#include "scheduler/program.h"

namespace dualpipe {

StepMarks::StepMarks(const Program& program, int rank, Device& device)
    : device_(device), slots_(program.slots(rank)), own_(program.messages().size(), 0) {
  for (const Instruction& instruction : program.instructions(rank)) {
    const bool sends = instruction.kind == Instruction::Kind::send;
    if (sends || instruction.kind == Instruction::Kind::await_received) {
      const std::int32_t index = instruction.index;
      own_[static_cast<std::size_t>(index)] = static_cast<std::uint32_t>(messages_.size());
      messages_.push_back({.index = index, .sends = sends});
    }
  }
  device.reserve_marks(last() + 1);
}

void StepMarks::read(std::chrono::steady_clock::time_point begin, RankStep& step) const {
  step.begin = begin;
  step.spans.clear();
  step.sent.clear();
  step.received.clear();
  for (std::size_t slot = 0; slot < slots_.size(); ++slot) {
    step.spans.push_back({.slot = slots_[slot],
                          .begin = device_.time_of(slot_begin(slot)) - begin,
                          .end = device_.time_of(slot_end(slot)) - begin});
  }
  for (const OwnMessage& own : messages_) {
    (own.sends ? step.sent : step.received)
        .push_back({.message = own.index, .time = device_.time_of(message(own.index))});
  }
}

}  // namespace dualpipe
