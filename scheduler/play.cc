#include "scheduler/play.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <tuple>
#include <utility>
#include <vector>

#include "costs/check.h"
#include "scheduler/program.h"

namespace dualpipe {
namespace {

using Kind = Instruction::Kind;

std::size_t at(std::int32_t index) {
  return static_cast<std::size_t>(index);
}

}  // namespace

Play::Play(const Program& program)
    : program_(program),
      buffering_(program.semantics().buffering),
      next_(at(program.pipeline().ranks()), 0),
      blocked_(next_.size(), false),
      groups_(next_.size(), 0),
      gathered_(next_.size()) {
  find_lanes();
  number_transfers();
  for (int rank = program.pipeline().ranks() - 1; rank >= 0; --rank) {
    ready_.push_back(rank);
  }
  run();
}

void Play::find_lanes() {
  const Topology topology = program_.semantics().topology;
  std::map<std::tuple<int, int, int>, std::int32_t> queue_numbers;  // rank, communicator
  const auto queue_of = [&](int rank, const std::pair<int, int>& communicator) {
    return queue_numbers
        .try_emplace({rank, communicator.first, communicator.second},
                     static_cast<std::int32_t>(queue_numbers.size()))
        .first->second;
  };
  std::map<std::pair<std::int32_t, std::int32_t>, std::int32_t> lane_numbers;  // the two queues
  for (const Channel& channel : program_.channels()) {
    const std::pair<int, int> communicator =
        communicator_of(channel, static_cast<std::int32_t>(lane_of_channel_.size()), topology);
    const std::int32_t source = queue_of(channel.source, communicator);
    const std::int32_t destination = queue_of(channel.destination, communicator);
    const auto [lane, is_new] =
        lane_numbers.try_emplace({source, destination}, static_cast<std::int32_t>(lanes_.size()));
    if (is_new) {
      lanes_.push_back({.source = channel.source,
                        .destination = channel.destination,
                        .source_queue = source,
                        .destination_queue = destination});
    }
    lane_of_channel_.push_back(lane->second);
  }
  queues_.resize(queue_numbers.size());
}

// The k-th send of a lane and its k-th receive are transfer k of that lane.
void Play::number_transfers() {
  for (const Message& message : program_.messages()) {
    ++lanes_[at(lane_of_channel_[at(message.channel)])].count;
  }
  std::int32_t first = 0;
  for (Lane& lane : lanes_) {
    lane.first = first;
    first += lane.count;
  }
  transfers_.resize(at(first));
  if (program_.semantics().topology == Topology::channel) {
    for (std::int32_t message = 0; message < first; ++message) {
      Ends& ends = transfers_[at(message)];
      ends.sent = message;
      ends.received = message;
      ends.lane = program_.message(message).channel;
    }
    return;
  }
  sent_as_.resize(at(first), none);
  received_as_.resize(at(first), none);
  for (int rank = 0; rank < program_.pipeline().ranks(); ++rank) {
    for (const Instruction& instruction : program_.instructions(rank)) {
      if (instruction.kind != Kind::send && instruction.kind != Kind::receive) {
        continue;
      }
      const std::int32_t number = lane_of_channel_[at(program_.message(instruction.index).channel)];
      Lane& lane = lanes_[at(number)];
      const bool is_send = instruction.kind == Kind::send;
      const std::int32_t transfer =
          lane.first + (is_send ? lane.sends_seen++ : lane.receives_seen++);
      Ends& ends = transfers_[at(transfer)];
      ends.lane = number;
      (is_send ? ends.sent : ends.received) = instruction.index;
      (is_send ? sent_as_ : received_as_)[at(instruction.index)] = transfer;
    }
  }
}

void Play::run() {
  while (!ready_.empty()) {
    const int rank = ready_.back();
    ready_.pop_back();
    advance(rank);
  }
}

// Executes a rank's instructions until it must wait.
void Play::advance(int rank) {
  const std::span<const Instruction> instructions = program_.instructions(rank);
  const bool grouped = program_.semantics().grouped;
  for (std::size_t& next = next_[at(rank)]; next < instructions.size(); ++next) {
    const Instruction& instruction = instructions[next];
    switch (instruction.kind) {
      case Kind::run:
        break;
      case Kind::send:
      case Kind::receive:
        if (grouped) {
          gathered_[at(rank)].push_back(instruction);
        } else {
          issue(instruction, rank);
          ++groups_[at(rank)];
        }
        break;
      case Kind::end_group:
        for (const Instruction& operation : gathered_[at(rank)]) {
          issue(operation, rank);
        }
        ++groups_[at(rank)];
        gathered_[at(rank)].clear();
        break;
      case Kind::await_received:
      case Kind::await_sent:
        if (!is_done(operation_of(instruction))) {
          blocked_[at(rank)] = true;
          return;
        }
        break;
    }
  }
}

void Play::issue(const Instruction& instruction, int rank) {
  const Operation operation = operation_of(instruction);
  Ends& ends = transfers_[at(operation.transfer)];
  (operation.is_send ? ends.send_bits : ends.receive_bits) |= issued;
  const Lane& lane = lanes_[at(ends.lane)];
  Queue& queue = queues_[at(operation.is_send ? lane.source_queue : lane.destination_queue)];
  queue.entries.push_back({operation, groups_[at(rank)]});
  start_front(queue);
  settle();
}

void Play::settle() {
  while (!finished_.empty()) {
    const Operation operation = finished_.back();
    finished_.pop_back();
    leave_queue(operation);
  }
}

// Starts what belongs to the group at the front of the queue and has not been started.
void Play::start_front(Queue& queue) {
  while (queue.started < queue.entries.size() &&
         queue.entries[queue.started].group == queue.entries[queue.front].group) {
    const Operation operation = queue.entries[queue.started].operation;
    ++queue.started;
    ++queue.unfinished;
    start(operation);
  }
}

void Play::start(const Operation& operation) {
  Ends& ends = transfers_[at(operation.transfer)];
  (operation.is_send ? ends.send_bits : ends.receive_bits) |= started;
  if ((ends.send_bits & ends.receive_bits & started) != 0) {
    if ((ends.send_bits & done) == 0) {
      finish({operation.transfer, true});
    }
    finish({operation.transfer, false});
  }
  if (operation.is_send) {
    send_if_room(lanes_[at(ends.lane)]);
  }
}

// Transfers of a lane finish in order at both ends: an operation starts only after those before it,
// or in the same group with them, where what lets the later one finish lets the earlier one too.
void Play::finish(const Operation& operation) {
  Ends& ends = transfers_[at(operation.transfer)];
  (operation.is_send ? ends.send_bits : ends.receive_bits) |= done;
  Lane& lane = lanes_[at(ends.lane)];
  ++(operation.is_send ? lane.sends_done : lane.receives_done);
  finished_.push_back(operation);
  if (!operation.is_send) {
    send_if_room(lane);
  }
}

bool Play::has_room(const Lane& lane) const {
  return lane.sends_done - lane.receives_done < buffering_;
}

void Play::send_if_room(const Lane& lane) {
  while (lane.sends_done < lane.count && has_room(lane) &&
         is_started({lane.first + lane.sends_done, true})) {
    finish({lane.first + lane.sends_done, true});
  }
}

// What follows from an operation that is done: its rank may go on, and so may its queue.
void Play::leave_queue(const Operation& operation) {
  const int rank = rank_of(operation);
  if (blocked_[at(rank)] && is_done(awaited(rank))) {
    blocked_[at(rank)] = false;
    ready_.push_back(rank);
  }
  const Lane& lane = lane_of(operation.transfer);
  Queue& queue = queues_[at(operation.is_send ? lane.source_queue : lane.destination_queue)];
  CHECK(queue.unfinished > 0);
  if (--queue.unfinished == 0) {
    queue.front = queue.started;
    if (queue.front < queue.entries.size()) {
      start_front(queue);
    } else {
      queue.entries.clear();
      queue.front = 0;
      queue.started = 0;
    }
  }
}

bool Play::complete() const {
  for (int rank = 0; rank < program_.pipeline().ranks(); ++rank) {
    if (next_[at(rank)] < program_.instructions(rank).size()) {
      return false;
    }
  }
  return true;
}

bool Play::raise_buffering() {
  int least = unlimited;
  for (const Lane& lane : lanes_) {
    if (lane.sends_done < lane.count && is_started({lane.first + lane.sends_done, true})) {
      least = std::min(least, lane.sends_done - lane.receives_done + 1);
    }
  }
  if (least == unlimited) {
    return false;
  }
  CHECK(least > buffering_);
  buffering_ = least;
  for (const Lane& lane : lanes_) {
    send_if_room(lane);
    settle();
  }
  run();
  return true;
}

// --- for whoever explains it ---

Play::Operation Play::operation_of(const Instruction& instruction) const {
  const bool is_send = instruction.kind == Kind::send || instruction.kind == Kind::await_sent;
  const std::vector<std::int32_t>& transfer_of = is_send ? sent_as_ : received_as_;
  return {transfer_of.empty() ? instruction.index : transfer_of[at(instruction.index)], is_send};
}

const Play::Lane& Play::lane_of(std::int32_t transfer) const {
  return lanes_[at(transfers_[at(transfer)].lane)];
}

std::uint8_t Play::bits(const Operation& operation) const {
  const Ends& ends = transfers_[at(operation.transfer)];
  return operation.is_send ? ends.send_bits : ends.receive_bits;
}

std::int32_t Play::message_of(const Operation& operation) const {
  const Ends& ends = transfers_[at(operation.transfer)];
  return operation.is_send ? ends.sent : ends.received;
}

int Play::rank_of(const Operation& operation) const {
  const Lane& lane = lane_of(operation.transfer);
  return operation.is_send ? lane.source : lane.destination;
}

int Play::peer_of(const Operation& operation) const {
  return rank_of({operation.transfer, !operation.is_send});
}

std::int32_t Play::room_for(std::int32_t transfer) const {
  const Lane& lane = lane_of(transfer);
  return transfer - lane.first < buffering_ ? none : transfer - buffering_;
}

const Play::Queue& Play::queue_of(const Operation& operation) const {
  const Lane& lane = lane_of(operation.transfer);
  return queues_[at(operation.is_send ? lane.source_queue : lane.destination_queue)];
}

Play::Operation Play::awaited(int rank) const {
  return operation_of(program_.instructions(rank)[next_[at(rank)]]);
}

}  // namespace dualpipe
