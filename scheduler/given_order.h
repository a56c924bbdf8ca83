// Writes the instructions of a communication order that somebody else has laid down, and checks
// that it communicates what the slots read, once and in time. Not installed: compile() is the way
// in.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "scheduler/channels.h"
#include "scheduler/communication.h"
#include "scheduler/program.h"
#include "scheduler/schedule.h"
#include "scheduler/violations.h"

namespace dualpipe {

class GivenOrder {
 public:
  // What ProgramBuilder puts into a Program.
  struct Parts {
    std::vector<Message> messages;  // of a channel in the order of its sends
    std::vector<Value> received;    // [message]: what its receiver takes it for
    std::vector<std::vector<Instruction>> instructions;  // [rank]
    int receive_buffers = 1;
    int send_buffers = 1;
  };

  // All must outlive this. Requires: as compile() of `communication` and the semantics.
  GivenOrder(const Schedule& schedule, const ChannelMap& channels,
             const TransportSemantics& semantics);

  // Adds violations of kind message; without any, every message has been filled in.
  [[nodiscard]] Parts write(const CommunicationOrder& communication, Violations& violations);

 private:
  static constexpr std::int32_t not_yet = -1;
  // How far a channel has come at its two ends.
  struct Progress {
    std::int32_t first = 0;  // index of the channel's message 0
    std::int32_t count = 0;
    std::int32_t written = 0;
    std::int32_t sent = 0;
    std::int32_t received = 0;
    std::int32_t consumed = 0;  // messages before this one have all been read
  };
  // How far one value has come.
  struct Way {
    std::int32_t written = not_yet;   // so many of its channel's were written before
    std::int32_t sent = not_yet;      // message
    std::int32_t received = not_yet;  // message
  };

  void write_rank(int rank, const std::vector<CommunicationStep>& steps);
  void communicate(const CommunicationStep& step);
  void send(const Value& value, Way& way, Progress& progress);
  void receive(const Value& value, Way& way, Progress& progress);
  void run();
  void read(const Value& value);
  void write(const Value& value);
  void let_group_go();
  void finish_rank();
  void check_all_communicated();
  void complain(const std::string& message);
  void emit(Instruction::Kind kind, std::int32_t index) { out_->push_back({kind, index}); }
  [[nodiscard]] bool waits_for_commit(Instruction::Kind kind, std::int32_t message) const;
  [[nodiscard]] std::string name(const Value& value) const { return name_of(value, schedule_); }
  [[nodiscard]] Way& way_of(const Value& value);
  [[nodiscard]] Progress& progress_of(const Value& value);

  const Schedule& schedule_;
  const ChannelMap& channels_;
  const TransportSemantics& semantics_;
  Parts parts_;
  std::vector<Progress> progress_;  // [channel]
  std::vector<Way> ways_;           // [activation, then gradient][stage][microbatch]
  std::vector<bool> read_;          // [message]
  // Of the rank being written:
  int rank_ = 0;
  std::int32_t slot_ = 0;  // the next to run
  std::vector<Instruction>* out_ = nullptr;
  std::vector<Instruction> group_;  // sends and receives to commit
  Violations* violations_ = nullptr;
};

}  // namespace dualpipe
