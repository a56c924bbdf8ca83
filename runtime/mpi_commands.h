// What a rank's thread hands to its MPI thread: the two ends of transfers, in order. One thread
// pushes, one takes, and neither takes a lock or allocates. Inner part of mpi_transport.h, in
// which there is nothing of MPI itself.

#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "runtime/operations.h"
#include "runtime/transport.h"

namespace dualpipe {

// One end of a transfer.
struct MpiCommand {
  Ticket ticket = 0;
  int peer = 0;
  MessageClass message_class = MessageClass::activation;
  bool sends = false;
  std::span<const std::byte> outgoing;
  std::span<std::byte> incoming;

  [[nodiscard]] std::size_t size() const { return sends ? outgoing.size() : incoming.size(); }
};

class MpiCommands {
 public:
  // The rank's thread. Requires: the command's ticket is outstanding, which bounds how many there
  // are.
  void push(const MpiCommand& command);
  // The MPI thread. Nothing when all have been taken.
  [[nodiscard]] std::optional<MpiCommand> take();

 private:
  std::vector<MpiCommand> ring_ = std::vector<MpiCommand>(Operations::outstanding_max);
  std::atomic<std::uint64_t> pushed_{0};
  std::atomic<std::uint64_t> taken_{0};
};

}  // namespace dualpipe
