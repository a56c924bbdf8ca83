#include "runtime/mpi_commands.h"

#include <atomic>
#include <cstddef>
#include <optional>
#include <thread>

#include <gtest/gtest.h>

#include "runtime/operations.h"

namespace dualpipe {
namespace {

TEST(MpiCommands, AreTakenInTheOrderInWhichTheyWerePushed) {
  MpiCommands commands;
  EXPECT_FALSE(commands.take());
  commands.push({.ticket = 5, .peer = 1});
  commands.push({.ticket = 9, .peer = 2});
  EXPECT_EQ(commands.take().value_or(MpiCommand{}).ticket, 5U);
  commands.push({.ticket = 7, .peer = 3});
  EXPECT_EQ(commands.take().value_or(MpiCommand{}).ticket, 9U);
  EXPECT_EQ(commands.take().value_or(MpiCommand{}).peer, 3);
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
      commands.push({.ticket = ticket++});
    } else {
      std::this_thread::yield();
    }
  }
}

using MpiCommandsDeathTest = testing::Test;

TEST(MpiCommandsDeathTest, MoreThanAreEverOutstandingIsABug) {
  MpiCommands commands;
  for (std::size_t k = 0; k < Operations::outstanding_max; ++k) {
    commands.push({.ticket = k});
  }
  EXPECT_DEATH(commands.push({}), "ring_");
}

}  // namespace
}  // namespace dualpipe
