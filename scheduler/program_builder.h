// The middle part of compile(): derives the messages of a valid schedule from what its ops read and
// write, checks that both ends of every channel agree on their order, and writes the instructions.

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "scheduler/communication.h"
#include "scheduler/program.h"
#include "scheduler/schedule.h"
#include "scheduler/violations.h"

namespace dualpipe {

class ProgramBuilder {
 public:
  // Requires: `schedule` has passed validate(); the semantics fit together (see check_semantics).
  ProgramBuilder(Schedule schedule, const TransportSemantics& semantics);

  // Adds violations of kind message. The program is not yet known to be free of deadlock. An empty
  // `communication` means the derived order.
  [[nodiscard]] Program build(const CommunicationOrder& communication, Violations& violations);

 private:
  // How far one end of a channel has come.
  struct Ends {
    std::int32_t first = 0;     // index of the channel's message 0
    std::int32_t count = 0;     // its messages
    std::int32_t sent = 0;      // while the source's instructions are written
    std::int32_t received = 0;  // while the destination's are
    // Only of a given communication order:
    std::int32_t written = 0;   // by slots of the source
    std::int32_t consumed = 0;  // by slots of the destination
  };

  void find_channels();
  [[nodiscard]] std::int32_t channel_of(const Value& value) const;
  [[nodiscard]] std::vector<Channel> channels_of_boundaries() const;
  void write_rank(int rank);
  void write_slot(std::int32_t slot);
  void write_grouped_slot(std::int32_t slot);
  void write_end(int rank);
  void write_given(int rank, const std::vector<CommunicationStep>& steps, Violations& violations);
  void communicate(int rank, const CommunicationStep& step, Violations& violations);
  void run_given(int rank, std::int32_t slot, Violations& violations);
  void write_group();
  void check_all_communicated(Violations& violations) const;
  void find_messages(const Slot& slot);
  void emit(Instruction::Kind kind, std::int32_t index) { out_->push_back({kind, index}); }
  void check_channels(Violations& violations) const;
  void check_shared_lanes(Violations& violations) const;

  Program program_;
  std::vector<Ends> ends_;                       // [channel]
  std::vector<std::vector<std::int32_t>> down_;  // [direction][stage]: channel of its activations
  std::vector<std::vector<std::int32_t>> up_;    // [direction][stage]: of its input gradients
  std::vector<Value> received_;                  // [message]: what its receiver takes it for
  std::vector<Instruction>* out_ = nullptr;      // of the rank being written
  std::vector<std::int32_t> incoming_;           // messages that the slot being written reads
  std::vector<std::int32_t> outgoing_;           // messages that it writes
  std::vector<std::int32_t> unsent_;             // messages that wait for the next group
  std::vector<Instruction> group_;               // of a given order: sends and receives to commit
};

}  // namespace dualpipe
