// Transport: how bytes get from one rank to another. It knows nothing of schedules: it moves
// messages in order along channels (source, destination, class) and tells what every rank is doing.
//
// Sends and receives are posted and completed through tickets; posting never blocks for longer than
// it takes to hand a command over, waiting always has a deadline. Message k of a channel meets
// receive k. A message is one contiguous buffer; those of a pipeline begin with a header
// (message_buffer.h). At most Operations::outstanding_max (operations.h) operations of a rank are
// under way at once.
//
// Messages lie in the memory of the transport's device, those of class control in the host's. On a
// device with a queue everything takes its turn there: a send reads what was written by all that
// was asked for before it was posted, a receive writes after all that has read, and waiting for a
// ticket makes the queue wait, not the caller - except for control messages, which are the host's.
//
// One Transport object belongs to one rank; except where said otherwise its functions are called by
// that rank's thread.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "costs/error.h"
#include "runtime/device.h"
#include "runtime/status.h"

namespace dualpipe {

enum class MessageClass : std::uint8_t { activation, gradient, replica, control };
inline constexpr std::size_t message_class_count = 4;

[[nodiscard]] constexpr std::string_view to_string(MessageClass message_class) {
  constexpr std::array<std::string_view, message_class_count> names{"activation", "gradient",
                                                                    "replica", "control"};
  return names[static_cast<std::size_t>(message_class)];
}

// Names one posted operation of this rank; valid until it has been waited for.
using Ticket = std::uint64_t;

// One operation has failed, and why: a message of another size, say. Which operation of the program
// it was, whoever waits for it knows and has to add.
class OperationFailure final : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class Transport {
 public:
  virtual ~Transport() = default;

  [[nodiscard]] virtual int rank() const = 0;
  [[nodiscard]] virtual int ranks() const = 0;
  [[nodiscard]] virtual std::string_view name() const = 0;
  // Where the rank computes; lives as long as the transport.
  [[nodiscard]] virtual Device& device() = 0;

  // The buffer must stay as it is until the ticket has been waited for, or abort() has returned, or
  // a wait has thrown because of an abort: whoever gives up for another reason aborts before it
  // frees its buffers. Throws the abort's Error when the job is being aborted.
  // Requires: destination is another rank.
  [[nodiscard]] virtual Ticket post_send(int destination, MessageClass message_class,
                                         std::span<const std::byte> message) = 0;
  // The message that arrives must be exactly as long as the buffer; waiting throws otherwise, here
  // and, where the transport knows both sizes, at the sender. The channel is of no use after that.
  [[nodiscard]] virtual Ticket post_receive(int source, MessageClass message_class,
                                            std::span<std::byte> message) = 0;

  // What was posted since the last call belongs together and may go out only now, all at once: the
  // Program's groups. Transports that start every operation on its own are live wherever groups
  // are, and do nothing.
  virtual void end_group() = 0;

  // Waits until the operation is done (see above for who waits): for a receive, the bytes are in
  // the buffer; for a send, the buffer may be used again. Each ticket is waited for once. Returns
  // false, leaving the ticket valid, when the deadline passes first. Throws OperationFailure when
  // the operation failed, and an Error with the aborter's code and reason when the job is being
  // aborted.
  [[nodiscard]] virtual bool wait(Ticket ticket, Deadline deadline) = 0;

  // Throws what wait() would throw when the job is being aborted, or has failed where no ticket
  // would tell; for a caller that waits for the device.
  virtual void check() = 0;

  // This rank's status page; the transport lets the other ranks read it.
  [[nodiscard]] virtual StatusPage& status() = 0;

  // What every rank is doing, this one included; nothing for a rank that did not answer in time.
  // When several ranks ask at once, the others get nullopt for the whole and should leave the
  // reporting to the first: they wait for its abort. Any thread.
  [[nodiscard]] virtual std::optional<std::vector<std::optional<RankStatus>>> collect_status(
      Deadline deadline) = 0;

  // Ends the job on all ranks: every wait, here and elsewhere, throws Error(code, reason) soon, or
  // the processes end with `code`. The first call wins. Once it returns, the transport touches no
  // buffer any more. Any thread; does not block beyond a second.
  virtual void abort(ExitCode code, const std::string& reason) noexcept = 0;
};

}  // namespace dualpipe
