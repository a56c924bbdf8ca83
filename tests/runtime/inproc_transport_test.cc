#include "runtime/inproc_transport.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <list>
#include <memory>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/error.h"
#include "runtime/transport.h"
#include "tests/support/refusal.h"
#include "tests/support/transport_checks.h"

namespace dualpipe {
namespace {

using testing::AllOf;
using testing::HasSubstr;

// Every rank on a thread of its own, until all have returned.
void on_all_ranks(int ranks, const std::function<void(Transport&)>& body) {
  const std::vector<std::unique_ptr<Transport>> transports = make_inproc_transports(ranks);
  std::vector<std::jthread> threads;
  for (const std::unique_ptr<Transport>& transport : transports) {
    threads.emplace_back([&body, &transport] { body(*transport); });
  }
}

using CheckAndRanks = std::tuple<TransportCheck, int>;
class InprocTransport : public testing::TestWithParam<CheckAndRanks> {};

TEST_P(InprocTransport, DoesWhatEveryTransportMust) {
  const auto& [check, ranks] = GetParam();
  on_all_ranks(ranks, check.run);
}

std::string name_of(const testing::TestParamInfo<CheckAndRanks>& tested) {
  const auto& [check, ranks] = tested.param;
  return std::string(check.name) + "_" + std::to_string(ranks);
}

INSTANTIATE_TEST_SUITE_P(Checks, InprocTransport,
                         testing::Combine(testing::ValuesIn(transport_checks().begin(),
                                                            transport_checks().end()),
                                          testing::Values(2, 3, 8)),
                         name_of);

struct Pair {
  std::vector<std::unique_ptr<Transport>> transports = make_inproc_transports(2);
  Transport& sender = *transports[0];
  Transport& receiver = *transports[1];
};

bool done_now(Transport& transport, Ticket ticket) {
  return transport.wait(ticket, std::chrono::steady_clock::now());
}

TEST(InprocRendezvous, ASendIsNotDoneBeforeItsReceiveIsPosted) {
  Pair pair;
  const std::vector<std::byte> sent = message_of(1, 8);
  std::vector<std::byte> received(8);
  const Ticket send = pair.sender.post_send(1, MessageClass::activation, sent);
  EXPECT_FALSE(done_now(pair.sender, send));
  const Ticket receive = pair.receiver.post_receive(0, MessageClass::activation, received);
  EXPECT_TRUE(done_now(pair.sender, send));
  EXPECT_TRUE(done_now(pair.receiver, receive));
  EXPECT_EQ(received, sent);
}

TEST(InprocRendezvous, TheSecondSendWaitsForTheSecondReceive) {
  Pair pair;
  const std::vector<std::byte> sent = message_of(1, 8);
  std::vector<std::byte> received(8);
  const Ticket first = pair.sender.post_send(1, MessageClass::activation, sent);
  const Ticket second = pair.sender.post_send(1, MessageClass::activation, sent);
  EXPECT_TRUE(
      done_now(pair.receiver, pair.receiver.post_receive(0, MessageClass::activation, received)));
  EXPECT_TRUE(done_now(pair.sender, first));
  EXPECT_FALSE(done_now(pair.sender, second));
  EXPECT_TRUE(
      done_now(pair.receiver, pair.receiver.post_receive(0, MessageClass::activation, received)));
  EXPECT_TRUE(done_now(pair.sender, second));
}

TEST(InprocRendezvous, BothEndsAreToldOfDifferentSizes) {
  Pair pair;
  const std::vector<std::byte> sent = message_of(1, 8);
  std::vector<std::byte> received(9);
  const Ticket send = pair.sender.post_send(1, MessageClass::gradient, sent);
  const Ticket receive = pair.receiver.post_receive(0, MessageClass::gradient, received);
  for (const auto& [transport, ticket] :
       {std::pair{&pair.sender, send}, std::pair{&pair.receiver, receive}}) {
    try {
      static_cast<void>(done_now(*transport, ticket));
      ADD_FAILURE() << "no error at rank " << transport->rank();
    } catch (const OperationFailure& error) {
      EXPECT_STREQ(error.what(), "gradient 0->1: rank 0 sent 8 bytes where rank 1 expected 9");
    }
  }
}

void expect_ended(ExitCode code, const std::string& reason, const std::function<void()>& call) {
  try {
    call();
    ADD_FAILURE() << "did not throw";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code);
    EXPECT_EQ(error.what(), reason);
  }
}

TEST(InprocAbort, WakesEveryWaiterWithTheReasonAndCodeOfTheFirst) {
  on_all_ranks(8, [](Transport& transport) {
    std::byte token{};
    if (transport.rank() == 5) {
      for (int rank = 0; rank < 8; ++rank) {  // all the others are there before the end
        if (rank != 5) {
          expect_done(transport, transport.post_receive(rank, MessageClass::control, {&token, 1}));
        }
      }
      transport.abort(ExitCode::callback, "stage 3 has had enough");
      transport.abort(ExitCode::timeout, "and again");
      return;
    }
    std::byte never{};
    expect_ended(ExitCode::callback, "stage 3 has had enough", [&] {
      expect_done(transport, transport.post_send(5, MessageClass::control, {&token, 1}));
      const Ticket ticket = transport.post_receive(5, MessageClass::activation, {&never, 1});
      static_cast<void>(transport.wait(ticket, generous_deadline()));
    });
  });
}

TEST(InprocAbort, EndsWhatIsPostedLaterAndWhatIsDoneAlready) {
  Pair pair;
  std::byte token{};
  const Ticket send = pair.sender.post_send(1, MessageClass::activation, {&token, 1});
  std::byte received{};
  static_cast<void>(pair.receiver.post_receive(0, MessageClass::activation, {&received, 1}));
  pair.receiver.abort(ExitCode::timeout, "late");
  expect_ended(ExitCode::timeout, "late", [&] { static_cast<void>(done_now(pair.sender, send)); });
  expect_ended(ExitCode::timeout, "late", [&] {
    static_cast<void>(pair.sender.post_send(1, MessageClass::activation, {&token, 1}));
  });
}

// AddressSanitizer is the judge here: the receive's buffer is gone when the send comes.
TEST(InprocAbort, NothingIsCopiedOnceItHasReturned) {
  Pair pair;
  const std::vector<std::byte> sent = message_of(1, 1000);
  {
    std::vector<std::byte> received(1000);
    static_cast<void>(pair.receiver.post_receive(0, MessageClass::activation, received));
    pair.receiver.abort(ExitCode::transport, "gone");
  }
  pair.transports.pop_back();
  expect_ended(ExitCode::transport, "gone", [&] {
    static_cast<void>(pair.sender.post_send(1, MessageClass::activation, sent));
  });
}

// Ranks that exchange messages as fast as they can while another ends the job: each frees its
// buffers as soon as it hears of it.
TEST(InprocAbort, RanksMayFreeTheirBuffersAsSoonAsTheyHearOfIt) {
  for (int round = 0; round < 20; ++round) {
    on_all_ranks(4, [](Transport& transport) {
      const int peer = transport.rank() ^ 1;
      try {
        for (std::uint64_t number = 0;; ++number) {
          const std::vector<std::byte> sent = message_of(number, 5000);
          std::vector<std::byte> received(5000);
          const Ticket receive = transport.post_receive(peer, MessageClass::activation, received);
          const Ticket send = transport.post_send(peer, MessageClass::activation, sent);
          expect_done(transport, receive);
          expect_done(transport, send);
          if (transport.rank() == 3 && number == 10) {
            transport.abort(ExitCode::callback, "enough");
          }
        }
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ExitCode::callback);
      }
    });
  }
}

TEST(InprocTransportEnd, ARankThatLeavesInTheMiddleEndsTheJob) {
  Pair pair;
  std::byte token{};
  static_cast<void>(pair.receiver.post_receive(0, MessageClass::activation, {&token, 1}));
  pair.transports.pop_back();
  expect_ended(ExitCode::transport, "rank 1 ended with 1 operations under way", [&] {
    static_cast<void>(pair.sender.post_send(1, MessageClass::activation, {&token, 1}));
  });
}

TEST(InprocTransports, AreRefusedWhereTheHostHasNoMemoryForThem) {
  EXPECT_THAT(
      refusal(ExitCode::infeasible,
              [] { return make_inproc_transports(std::numeric_limits<int>::max()).size(); }),
      AllOf(HasSubstr("2147483647 ranks on threads of one process need "),
            HasSubstr(" GiB: take fewer ranks")));
}

// Every two ranks, both ways, in every class: whoever comes first, and were it both at once, there
// is one lane.
TEST(InprocTransports, EveryTwoRanksHaveALaneOfTheirOwnEachWayInEveryClass) {
  constexpr int ranks = 6;
  on_all_ranks(ranks, [](Transport& transport) {
    std::vector<Ticket> tickets;
    std::list<std::vector<std::byte>> sent;
    std::list<std::vector<std::byte>> received;
    std::vector<std::vector<std::byte>> expected;
    const auto number = [](int source, int destination, std::size_t message_class) {
      return (static_cast<std::uint64_t>(source) * ranks +
              static_cast<std::uint64_t>(destination)) *
                 message_class_count +
             message_class;
    };
    for (std::size_t k = 0; k < message_class_count; ++k) {
      const MessageClass message_class{static_cast<std::uint8_t>(k)};
      for (int peer = 0; peer < ranks; ++peer) {
        if (peer == transport.rank()) {
          continue;
        }
        sent.push_back(message_of(number(transport.rank(), peer, k), 16));
        expected.push_back(message_of(number(peer, transport.rank(), k), 16));
        received.emplace_back(16);
        tickets.push_back(transport.post_send(peer, message_class, sent.back()));
        tickets.push_back(transport.post_receive(peer, message_class, received.back()));
      }
    }
    for (const Ticket ticket : tickets) {
      expect_done(transport, ticket);
    }
    EXPECT_TRUE(std::ranges::equal(received, expected));
  });
}

TEST(InprocTransportEnd, OneRankAloneNeedsNobody) {
  const std::vector<std::unique_ptr<Transport>> transports = make_inproc_transports(1);
  ASSERT_EQ(transports.size(), 1U);
  EXPECT_EQ(transports[0]->ranks(), 1);
  EXPECT_EQ(transports[0]->name(), "inproc");
  EXPECT_TRUE(transports[0]->collect_status(generous_deadline()));
}

}  // namespace
}  // namespace dualpipe
