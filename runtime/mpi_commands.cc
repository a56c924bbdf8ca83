#include "runtime/mpi_commands.h"

#include <atomic>
#include <cstdint>
#include <optional>

#include "costs/check.h"

namespace dualpipe {

void MpiCommands::push(const MpiCommand& command) {
  const std::uint64_t number = pushed_.load(std::memory_order_relaxed);
  CHECK(number - taken_.load(std::memory_order_acquire) < ring_.size());
  ring_[number % ring_.size()] = command;
  pushed_.store(number + 1, std::memory_order_release);
}

std::optional<MpiCommand> MpiCommands::take() {
  const std::uint64_t number = taken_.load(std::memory_order_relaxed);
  if (number == pushed_.load(std::memory_order_acquire)) {
    return std::nullopt;
  }
  const MpiCommand command = ring_[number % ring_.size()];
  taken_.store(number + 1, std::memory_order_release);
  return command;
}

}  // namespace dualpipe
