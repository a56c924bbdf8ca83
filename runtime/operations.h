// What a rank has posted and not yet waited for. Every transport needs the same of it: a ticket per
// operation, a wait with a deadline, and a word from whichever thread moved the bytes that they are
// there - or why they never will be. Transports differ only in how the bytes move.

#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "costs/error.h"
#include "runtime/transport.h"

namespace dualpipe {

class Operations {
 public:
  static constexpr std::size_t outstanding_max = 4096;

  Operations();

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

  // Opened and not yet successfully waited for.
  [[nodiscard]] std::size_t outstanding() const;

  // A number below outstanding_max that no other outstanding ticket has.
  [[nodiscard]] static constexpr std::size_t place(Ticket ticket) {
    return ticket % outstanding_max;
  }

 private:
  struct Operation {
    Ticket ticket = 0;  // the last one in this place; its generation is above `place`
    enum class State : std::uint8_t { free, under_way, done, failed } state = State::free;
    std::string failure;
  };
  // Kept apart, not as an Error: copies of one share their text, and each thrower needs its own.
  struct Closed {
    ExitCode code = ExitCode::transport;
    std::string reason;
  };
  void settle(Ticket ticket, Operation::State state, const std::string& failure);

  mutable std::mutex mutex_;
  std::condition_variable settled_;
  std::vector<Operation> operations_;     // [place]
  std::vector<std::size_t> free_places_;  // a stack
  std::optional<Ticket> awaited_;         // what the rank's thread sleeps for
  std::optional<Closed> closed_;
};

}  // namespace dualpipe
