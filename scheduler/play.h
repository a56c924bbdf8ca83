// Plays a program's communication without time, as far as it goes. The deadlock proof is this play.
//
// What is played: every rank issues its sends and receives in the order of its instructions, each
// into the queue of its communicator on that rank. An operation starts when all groups before its
// own in that queue are done (an operation without a group is a group of one). Messages from one
// rank to another on one communicator form a lane; there are no tags, so send k of a lane meets
// receive k. With a buffering of K messages per lane,
//
//   receive k is done once it and send k have started;
//   send k    is done once it has started, and receive k has started or receive k-K is done
//             (the lane then holds fewer than K messages; nothing to wait for while k < K);
//   a rank goes on once the operation that it awaits is done.
//
// Why one play is a proof: every condition above asks only that certain things have happened, never
// that something has not. So what can happen stays possible until it happens, whatever else happens
// first; by induction every play, in any order and hence under every timing, ends in the same set
// of events, the least fixed point of the rules. If that set is everything, no timing hangs; if it
// is not, every timing does. The same argument gives monotony: with more buffering the rules ask
// for less, so a play that stopped may simply go on, and the smallest buffering that lets a program
// complete is found in one play. Each event is handled once: linear in the number of instructions,
// and in the number of lanes for each time the buffering is raised.
//
// Not installed: compile() is the way in.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "scheduler/program.h"

namespace dualpipe {

class Play {
 public:
  // A send or a receive of a transfer: what send k and receive k of a lane do together. The two
  // name different messages only where lanes without tags swap them.
  struct Operation {
    std::int32_t transfer = 0;
    bool is_send = false;

    bool operator==(const Operation&) const = default;
    auto operator<=>(const Operation&) const = default;
  };
  // What one rank has issued on one communicator: groups, of which only the first is under way.
  struct Queue {
    struct Entry {
      Operation operation;
      std::int32_t group = 0;
    };
    std::vector<Entry> entries;  // since it was empty, so that they stay in the cache
    std::size_t front = 0;       // first entry of the group under way
    std::size_t started = 0;     // entries before this one have been started
    std::size_t unfinished = 0;  // operations of the group under way that are not done
  };
  static constexpr std::int32_t none = -1;

  // Plays with the buffering of the program's semantics until nothing more can happen. `program`
  // must outlive this. Requires: both ends of every channel take its messages in the same order.
  explicit Play(const Program& program);

  // True if every rank has come to its end.
  [[nodiscard]] bool complete() const;

  // Goes on with the least buffering that makes anything happen. False if none does.
  // Requires: not complete().
  bool raise_buffering();
  [[nodiscard]] int buffering() const { return buffering_; }

  // What happened, for whoever explains it.
  [[nodiscard]] bool is_issued(const Operation& operation) const {
    return (bits(operation) & issued) != 0;
  }
  [[nodiscard]] bool is_started(const Operation& operation) const {
    return (bits(operation) & started) != 0;
  }
  [[nodiscard]] bool is_done(const Operation& operation) const {
    return (bits(operation) & done) != 0;
  }
  // Whose end it is.
  [[nodiscard]] int rank_of(const Operation& operation) const;
  [[nodiscard]] int peer_of(const Operation& operation) const;
  [[nodiscard]] std::int32_t message_of(const Operation& operation) const;
  // The receive that would make room in the lane's buffer for this send: its transfer, or none.
  [[nodiscard]] std::int32_t room_for(std::int32_t transfer) const;
  [[nodiscard]] std::span<const Queue> queues() const { return queues_; }
  [[nodiscard]] const Queue& queue_of(const Operation& operation) const;
  // Requires: the rank has not come to its end. What it waits for.
  [[nodiscard]] Operation awaited(int rank) const;
  [[nodiscard]] std::size_t next(int rank) const { return next_[static_cast<std::size_t>(rank)]; }

 private:
  struct Lane {
    int source = 0;  // ranks
    int destination = 0;
    std::int32_t first = 0;  // transfer
    std::int32_t count = 0;
    std::int32_t sends_done = 0;
    std::int32_t receives_done = 0;
    std::int32_t source_queue = 0;
    std::int32_t destination_queue = 0;
    std::int32_t sends_seen = 0;  // while transfers are numbered
    std::int32_t receives_seen = 0;
  };
  struct Ends {                 // of a transfer
    std::int32_t sent = 0;      // message
    std::int32_t received = 0;  // message
    std::int32_t lane = 0;
    std::uint8_t send_bits = 0;
    std::uint8_t receive_bits = 0;
  };
  static constexpr std::uint8_t issued = 1;
  static constexpr std::uint8_t started = 2;
  static constexpr std::uint8_t done = 4;

  void find_lanes();
  void number_transfers();
  void run();
  void advance(int rank);
  void issue(const Instruction& instruction, int rank);
  void settle();
  void start_front(Queue& queue);
  void start(const Operation& operation);
  void finish(const Operation& operation);
  void leave_queue(const Operation& operation);
  void send_if_room(const Lane& lane);
  [[nodiscard]] bool has_room(const Lane& lane) const;
  [[nodiscard]] Operation operation_of(const Instruction& instruction) const;
  [[nodiscard]] const Lane& lane_of(std::int32_t transfer) const;
  [[nodiscard]] std::uint8_t bits(const Operation& operation) const;

  const Program& program_;
  int buffering_ = 0;
  std::vector<std::int32_t> lane_of_channel_;
  std::vector<Lane> lanes_;
  std::vector<Ends> transfers_;
  std::vector<std::int32_t> sent_as_;      // [message]: transfer; empty where a channel is a lane,
  std::vector<std::int32_t> received_as_;  // and messages are numbered as transfers
  std::vector<Queue> queues_;
  std::vector<std::size_t> next_;                   // [rank]: instruction
  std::vector<bool> blocked_;                       // [rank]
  std::vector<std::int32_t> groups_;                // [rank]: number of groups issued so far
  std::vector<std::vector<Instruction>> gathered_;  // [rank]: operations of the open group
  std::vector<int> ready_;                          // ranks that may go on
  std::vector<Operation> finished_;  // operations whose consequences are yet to be drawn
};

}  // namespace dualpipe
