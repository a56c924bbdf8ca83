#include "runtime/operations.h"

#include <chrono>
#include <cstddef>
#include <set>
#include <string>
#include <thread>

#include <gtest/gtest.h>

#include "costs/error.h"
#include "runtime/device.h"
#include "runtime/transport.h"

namespace dualpipe {
namespace {

Deadline now() {
  return std::chrono::steady_clock::now();
}
Deadline later() {
  return now() + std::chrono::seconds(60);
}

TEST(Operations, AreWaitedForInAnyOrder) {
  Operations operations;
  const Ticket first = operations.open();
  const Ticket second = operations.open();
  operations.finish(second);
  EXPECT_FALSE(operations.wait(first, now()));
  EXPECT_TRUE(operations.wait(second, now()));
  operations.finish(first);
  EXPECT_TRUE(operations.wait(first, now()));
  EXPECT_EQ(operations.outstanding(), 0U);
}

TEST(Operations, AWaiterWakesWhenAnotherThreadFinishes) {
  Operations operations;
  const Ticket ticket = operations.open();
  const std::jthread other([&] { operations.finish(ticket); });
  EXPECT_TRUE(operations.wait(ticket, later()));
}

TEST(Operations, AFailureIsThrownOnceByTheWait) {
  Operations operations;
  const Ticket ticket = operations.open();
  operations.fail(ticket, "the cable is gone");
  try {
    static_cast<void>(operations.wait(ticket, now()));
    ADD_FAILURE() << "did not throw";
  } catch (const OperationFailure& error) {
    EXPECT_STREQ(error.what(), "the cable is gone");
  }
  EXPECT_EQ(operations.outstanding(), 0U);
}

TEST(Operations, ClosingWakesTheWaiterAndTheFirstReasonStays) {
  Operations operations;
  const Ticket ticket = operations.open();
  const std::jthread other([&] {
    operations.close(ExitCode::timeout, "first");
    operations.close(ExitCode::callback, "second");
  });
  for (int round = 0; round < 2; ++round) {
    try {
      static_cast<void>(operations.wait(ticket, later()));
      ADD_FAILURE() << "did not throw";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::timeout);
      EXPECT_STREQ(error.what(), "first");
    }
  }
  EXPECT_THROW(static_cast<void>(operations.open()), Error);
}

TEST(Operations, TicketsAreNotUsedTwiceThoughPlacesAre) {
  Operations operations;
  std::set<Ticket> tickets;
  for (int k = 0; k < 10; ++k) {
    const Ticket ticket = operations.open();
    EXPECT_TRUE(tickets.insert(ticket).second);
    EXPECT_EQ(Operations::place(ticket), Operations::place(*tickets.begin()));
    operations.finish(ticket);
    EXPECT_TRUE(operations.wait(ticket, now()));
  }
}

TEST(Operations, AsManyAsPromisedFit) {
  Operations operations;
  std::set<std::size_t> places;
  for (std::size_t k = 0; k < Operations::outstanding_max; ++k) {
    places.insert(Operations::place(operations.open()));
  }
  EXPECT_EQ(places.size(), Operations::outstanding_max);
  EXPECT_EQ(operations.outstanding(), Operations::outstanding_max);
}

using OperationsDeathTest = testing::Test;

TEST(OperationsDeathTest, OneMoreIsABug) {
  Operations operations;
  for (std::size_t k = 0; k < Operations::outstanding_max; ++k) {
    static_cast<void>(operations.open());
  }
  EXPECT_DEATH(static_cast<void>(operations.open()), "free_places_");
}

TEST(OperationsDeathTest, ATicketIsWaitedForOnce) {
  Operations operations;
  const Ticket ticket = operations.open();
  operations.finish(ticket);
  EXPECT_TRUE(operations.wait(ticket, now()));
  EXPECT_DEATH(static_cast<void>(operations.wait(ticket, now())), "ticket");
}

}  // namespace
}  // namespace dualpipe
