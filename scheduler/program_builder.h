// The middle part of compile(): derives the messages of a valid schedule from what its ops read and
// write, checks that both ends of every channel agree on their order, and writes the instructions.

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "scheduler/channels.h"
#include "scheduler/communication.h"
#include "scheduler/program.h"
#include "scheduler/schedule.h"
#include "scheduler/violations.h"

namespace dualpipe {

class ProgramBuilder {
 public:
  // Requires: `schedule` has passed validate(); the semantics fit together (see check_semantics).
  ProgramBuilder(Schedule schedule, const TransportSemantics& semantics);

  // Adds violations of kind message: channels whose two ends disagree. Without any, the program can
  // be played, but is not yet known to be free of deadlock. An empty `communication` means the
  // derived order.
  [[nodiscard]] Program build(const CommunicationOrder& communication, Violations& violations);

 private:
  // How far one end of a channel has come.
  struct Ends {
    std::int32_t first = 0;     // index of the channel's message 0
    std::int32_t count = 0;     // its messages
    std::int32_t sent = 0;      // while the source's instructions are written
    std::int32_t received = 0;  // while the destination's are
  };

  [[nodiscard]] static Program start(Schedule schedule, const TransportSemantics& semantics);
  void number_messages();
  void write_rank(int rank);
  void write_slot(std::int32_t slot);
  void write_grouped_slot(std::int32_t slot);
  void write_end(int rank);
  void find_messages(const Slot& slot);
  void take(const CommunicationOrder& communication, Violations& violations);
  void emit(Instruction::Kind kind, std::int32_t index) { out_->push_back({kind, index}); }
  void check_channels(Violations& violations) const;

  Program program_;
  ChannelMap channels_;
  std::vector<Ends> ends_;                   // [channel]
  std::vector<Value> received_;              // [message]: what its receiver takes it for
  std::vector<Instruction>* out_ = nullptr;  // of the rank being written
  std::vector<std::int32_t> incoming_;       // messages that the slot being written reads
  std::vector<std::int32_t> outgoing_;       // messages that it writes
  std::vector<std::int32_t> unsent_;         // messages that wait for the next group
};

// Where channels share a communicator, all messages from one rank to another there form one lane
// without tags: its k-th send meets its k-th receive, be they activations or gradients. Adds
// violations of kind message for lanes in which these two are not the same message.
void check_shared_lanes(const Program& program, Violations& violations);

}  // namespace dualpipe
