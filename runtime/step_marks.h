// StepMarks: where in a step the rank's device is, and what remains of a step when it is done.
// Every slot has a mark in the device's queue before and behind it, every message of the rank one:
// when it was ready to go, or when it was found to have arrived. Their times become the step's
// spans.

#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "runtime/device.h"
#include "scheduler/program.h"
#include "trace/timeline.h"

namespace dualpipe {

// When one end of a message's journey happened.
struct MessageTime {
  std::int32_t message = 0;  // index into Program::messages()
  std::chrono::steady_clock::time_point time;
};

// What one rank did in one step, by the steady clock of its host.
struct RankStep {
  std::chrono::steady_clock::time_point begin;  // before the first instruction
  std::vector<Span> spans;                      // relative to `begin`
  std::vector<MessageTime> sent;                // when each send was posted
  std::vector<MessageTime> received;            // when this rank found that it had arrived
  std::vector<double> loss;  // [microbatch]; 0 where this rank does not compute its loss
};

class StepMarks {
 public:
  // Reserves the device's marks. Both must outlive this object.
  StepMarks(const Program& program, int rank, Device& device);

  // Numbers of marks, for Device::mark() and wait().
  [[nodiscard]] std::size_t slot_begin(std::size_t slot) const { return 2 * slot; }
  [[nodiscard]] std::size_t slot_end(std::size_t slot) const { return 2 * slot + 1; }
  // Requires: the rank is an end of the message.
  [[nodiscard]] std::size_t message(std::int32_t index) const {
    return 2 * slots_.size() + own_[static_cast<std::size_t>(index)];
  }
  // Behind everything else that has been asked for.
  [[nodiscard]] std::size_t last() const { return 2 * slots_.size() + messages_.size(); }

  // Which of the rank's messages this is: 0 .. messages() - 1, in the order of its instructions.
  [[nodiscard]] std::size_t own_number(std::int32_t index) const {
    return own_[static_cast<std::size_t>(index)];
  }
  [[nodiscard]] std::size_t messages() const { return messages_.size(); }

  // Writes begin, spans, sent and received. Allocates nothing when `step` has the room.
  // Requires: the device has come to all marks.
  void read(std::chrono::steady_clock::time_point begin, RankStep& step) const;

 private:
  struct OwnMessage {
    std::int32_t index = 0;
    bool sends = false;
  };

  Device& device_;
  std::span<const Slot> slots_;
  std::vector<OwnMessage> messages_;
  std::vector<std::uint32_t> own_;  // [message of the program]
};

}  // namespace dualpipe
