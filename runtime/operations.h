// What a rank has posted and not yet waited for. Every transport needs the same of it: a ticket per
// operation, a wait with a deadline, and a word from whichever thread moved the bytes that they are
// there - or why they never will be. Transports differ only in how the bytes move.
//
// Neither posting nor waiting nor finishing takes a lock or allocates: an operation's state is an
// atomic, and a rank that must sleep sleeps by a doorbell.

#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "costs/error.h"
#include "runtime/doorbell.h"
#include "runtime/transport.h"

namespace dualpipe {

class Operations {
 public:
  static constexpr std::size_t outstanding_max = 4096;

  Operations();

  // Before the first wait: how long a wait looks again and again before it sleeps. To be woken
  // takes tens of microseconds, which is more than many messages take; but a rank that looks keeps
  // a core from others, so this is for where every thread has one. Zero at first.
  void set_patience(std::chrono::nanoseconds patience) { patience_ = patience; }

  // The rank's thread. A new operation. Throws the Error of close().
  // Requires: fewer than outstanding_max outstanding.
  [[nodiscard]] Ticket open();
  // The rank's thread. See Transport::wait(). Requires: the ticket is outstanding.
  [[nodiscard]] bool wait(Ticket ticket, Deadline deadline);

  // The rank's thread. Throws the Error of close(), if there was one.
  void check() const;

  // Any thread, once per ticket: the operation is done, or has failed for good.
  void finish(Ticket ticket);
  void fail(Ticket ticket, const std::string& reason);

  // Any thread. From now on open() and wait() throw Error(code, reason). The first call wins.
  void close(ExitCode code, const std::string& reason);

  // Any thread.
  [[nodiscard]] bool is_closed() const { return is_closed_.load(); }

  // The rank's thread. Opened and not yet successfully waited for.
  [[nodiscard]] std::size_t outstanding() const { return outstanding_max - free_places_.size(); }

  // Of memory, for each of outstanding_max.
  [[nodiscard]] static constexpr std::size_t bytes_each() {
    return sizeof(Operation) + sizeof(std::size_t);
  }

  // A number below outstanding_max that no other outstanding ticket has.
  [[nodiscard]] static constexpr std::size_t place(Ticket ticket) {
    return ticket % outstanding_max;
  }

 private:
  enum class State : std::uint8_t { free, under_way, done, failed };
  struct Operation {
    Ticket ticket = 0;  // the last one in this place; its generation is above `place`
    std::string failure;
    std::atomic<State> state{State::free};  // what is above is written before it
  };
  // Kept apart, not as an Error: copies of one share their text, and each thrower needs its own.
  struct Closed {
    ExitCode code = ExitCode::transport;
    std::string reason;
  };
  void settle(Ticket ticket, State state, const std::string& failure);
  [[nodiscard]] bool await(const Operation& operation, Deadline deadline);

  static constexpr Ticket nothing = ~Ticket{0};

  std::vector<Operation> operations_;     // [place]
  std::vector<std::size_t> free_places_;  // a stack
  std::chrono::nanoseconds patience_{};
  std::atomic<Ticket> awaited_{nothing};  // what the rank's thread sleeps for
  Doorbell bell_;                         // that it sleeps by
  std::mutex closing_;                    // two threads may close at once
  Closed closed_;                         // written before is_closed_
  std::atomic<bool> is_closed_{false};
};

}  // namespace dualpipe
