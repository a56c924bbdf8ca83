#include "runtime/mpi_commands.h"

#include <atomic>
#include <cstddef>
#include <optional>
#include <thread>

#include <gtest/gtest.h>

#include "runtime/operations.h"
#include "runtime/transport.h"

namespace dualpipe {
namespace {

MpiCommand with_ticket(Ticket ticket) {
  MpiCommand command;
  command.ticket = ticket;
  return command;
}

TEST(MpiCommands, AreTakenInTheOrderInWhichTheyWerePushed) {
  MpiCommands commands;
  EXPECT_FALSE(commands.take());
  commands.push(with_ticket(5));
  commands.push(with_ticket(9));
  EXPECT_EQ(commands.take().value_or(MpiCommand{}).ticket, 5U);
  commands.push(with_ticket(7));
  EXPECT_EQ(commands.take().value_or(MpiCommand{}).ticket, 9U);
  EXPECT_EQ(commands.take().value_or(MpiCommand{}).ticket, 7U);
  EXPECT_FALSE(commands.take());
}

// Many times as many as fit, never more at once than that.
TEST(MpiCommands, GoFromOneThreadToAnotherWithoutLossOrRepetition) {
  constexpr Ticket count = 20 * Operations::outstanding_max;
  MpiCommands commands;
  std::atomic<Ticket> taken{0};
  const std::jthread taker([&] {
    for (Ticket expected = 0; expected < count;) {
      if (const std::optional<MpiCommand> command = commands.take()) {
        ASSERT_EQ(command->ticket, expected);
        taken.store(++expected);
      } else {
        std::this_thread::yield();
      }
    }
  });
  for (Ticket ticket = 0; ticket < count;) {
    if (ticket - taken.load() < Operations::outstanding_max) {
      commands.push(with_ticket(ticket++));
    } else {
      std::this_thread::yield();
    }
  }
}

using MpiCommandsDeathTest = testing::Test;

TEST(MpiCommandsDeathTest, MoreThanAreEverOutstandingIsABug) {
  MpiCommands commands;
  for (std::size_t k = 0; k < Operations::outstanding_max; ++k) {
    commands.push(with_ticket(k));
  }
  EXPECT_DEATH(commands.push({}), "ring_");
}

}  // namespace
}  // namespace dualpipe
