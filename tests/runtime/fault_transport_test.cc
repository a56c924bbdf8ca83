#include "runtime/fault_transport.h"

#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <numeric>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include "costs/error.h"
#include "runtime/fault.h"
#include "runtime/inproc_transport.h"
#include "runtime/transport.h"
#include "tests/support/refusal.h"
#include "tests/support/transport_checks.h"

namespace dualpipe {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

FaultPlan plan_of(const std::vector<std::string>& faults, std::uint64_t seed = 0) {
  FaultPlan plan{.faults = {}, .seed = seed};
  for (const std::string& fault : faults) {
    plan.faults.push_back(parse_fault(fault));
  }
  return plan;
}

// --- what every transport must do, where nothing but the time is faulty ---

using CheckAndFault = std::tuple<TransportCheck, std::string>;
class HarmlessFaults : public testing::TestWithParam<CheckAndFault> {};

TEST_P(HarmlessFaults, LeaveATransportThatDoesWhatEveryTransportMust) {
  const auto& [check, fault] = GetParam();
  const std::vector<std::unique_ptr<Transport>> transports =
      make_fault_transports(make_inproc_transports(3), plan_of({fault}));
  std::vector<std::jthread> threads;
  for (const std::unique_ptr<Transport>& transport : transports) {
    threads.emplace_back([run = check.run, &transport] { run(*transport); });
  }
}

std::string name_of(const testing::TestParamInfo<CheckAndFault>& tested) {
  const auto& [check, fault] = tested.param;
  return std::string(check.name) + "_" + fault.substr(0, fault.find(':'));
}

INSTANTIATE_TEST_SUITE_P(Checks, HarmlessFaults,
                         testing::Combine(testing::ValuesIn(transport_checks().begin(),
                                                            transport_checks().end()),
                                          testing::Values("drop:share=0", "jitter:ms=0.2",
                                                          "reorder:ms=0.2", "slow:ms=0.02")),
                         name_of);

// --- one sender and one receiver, in one thread: posting never waits ---

class Pair {
 public:
  explicit Pair(const std::vector<std::string>& faults, std::uint64_t seed = 0)
      : transports_(make_fault_transports(make_inproc_transports(2), plan_of(faults, seed))) {}

  [[nodiscard]] Transport& sender() { return *transports_[0]; }
  [[nodiscard]] Transport& receiver() { return *transports_[1]; }

  // Sends these numbers, one message each.
  void send(const std::vector<std::uint8_t>& numbers,
            MessageClass message_class = MessageClass::activation) {
    for (const std::uint8_t number : numbers) {
      sent_.push_back(std::make_unique<std::byte>(static_cast<std::byte>(number)));
      sends_.push_back(sender().post_send(1, message_class, {sent_.back().get(), 1}));
    }
  }
  // Posts a receive for one more number.
  [[nodiscard]] Ticket expect(MessageClass message_class = MessageClass::activation) {
    received_.push_back(std::make_unique<std::byte>());
    return receiver().post_receive(0, message_class, {received_.back().get(), 1});
  }
  // The numbers that arrive, as many as that.
  std::vector<int> receive(int count) {
    std::vector<int> numbers;
    for (int k = 0; k < count; ++k) {
      const Ticket ticket = expect();
      expect_done(receiver(), ticket);
      numbers.push_back(last_received());
    }
    return numbers;
  }
  [[nodiscard]] int last_received() const { return std::to_integer<int>(*received_.back()); }
  void finish_sending() {
    for (const Ticket ticket : std::exchange(sends_, {})) {
      expect_done(sender(), ticket);
    }
  }

 private:
  std::vector<std::unique_ptr<std::byte>> sent_;
  std::vector<std::unique_ptr<std::byte>> received_;
  std::vector<Ticket> sends_;
  std::vector<std::unique_ptr<Transport>> transports_;
};

TEST(FaultTransport, NamesTheTransportInside) {
  EXPECT_EQ(Pair({}).sender().name(), "fault:inproc");
}

TEST(FaultTransport, ADroppedMessageIsMissingAndItsSenderGoesOn) {
  Pair pair({"drop:message=1"});
  pair.send({10, 11, 12});
  EXPECT_THAT(pair.receive(2), ElementsAre(10, 12));
  pair.finish_sending();
}

TEST(FaultTransport, ADuplicateComesTwiceInARow) {
  Pair pair({"duplicate:message=1"});
  pair.send({10, 11, 12});
  EXPECT_THAT(pair.receive(4), ElementsAre(10, 11, 11, 12));
  pair.finish_sending();
}

TEST(FaultTransport, ADuplicateThatNobodyExpectsIsLeftOver) {
  Pair pair({"duplicate:message=0"});
  pair.send({10});
  EXPECT_THAT(pair.receive(1), ElementsAre(10));
  pair.finish_sending();
}

TEST(FaultTransport, EachFaultCountsTheMessagesOfItsOwnRankAndClass) {
  Pair pair({"drop:rank=0,class=gradient,message=1", "drop:rank=1,message=0"});
  pair.send({10});
  pair.send({20, 21}, MessageClass::gradient);
  pair.send({11});
  EXPECT_THAT(pair.receive(2), ElementsAre(10, 11));
  expect_done(pair.receiver(), pair.expect(MessageClass::gradient));
  EXPECT_FALSE(pair.receiver().wait(pair.expect(MessageClass::gradient), Clock::now()));
}

std::vector<std::byte> corrupted(std::uint64_t seed) {
  Pair pair({"corrupt"}, seed);
  const std::vector<std::byte> sent = message_of(3, 1000);
  std::vector<std::byte> received(sent.size());
  const Ticket send = pair.sender().post_send(1, MessageClass::activation, sent);
  expect_done(pair.receiver(), pair.receiver().post_receive(0, MessageClass::activation, received));
  expect_done(pair.sender(), send);
  EXPECT_EQ(sent, message_of(3, 1000)) << "the sender's own memory was altered";
  int bits = 0;
  for (std::size_t k = 0; k < sent.size(); ++k) {
    bits += std::popcount(std::to_integer<unsigned>(sent[k] ^ received[k]));
  }
  EXPECT_EQ(bits, 1);
  return received;
}

TEST(FaultTransport, OneBitIsFlippedAndTheSeedSaysWhich) {
  EXPECT_EQ(corrupted(1), corrupted(1));
  EXPECT_NE(corrupted(1), corrupted(2));
}

TEST(FaultTransport, ATruncatedMessageIsTooShort) {
  Pair pair({"truncate"});
  const std::vector<std::byte> sent = message_of(3, 1000);
  std::vector<std::byte> received(sent.size());
  static_cast<void>(pair.sender().post_send(1, MessageClass::activation, sent));
  const Ticket receive = pair.receiver().post_receive(0, MessageClass::activation, received);
  EXPECT_THAT([&] { static_cast<void>(pair.receiver().wait(receive, generous_deadline())); },
              ThrowsMessage<OperationFailure>(HasSubstr("where rank 1 expected 1000")));
}

TEST(FaultTransport, ADelayedMessageComesNoEarlier) {
  Pair pair({"delay:ms=30"});
  const Clock::time_point begin = Clock::now();
  pair.send({10});
  const Ticket ticket = pair.expect();
  EXPECT_FALSE(pair.receiver().wait(ticket, Clock::now()));
  pair.finish_sending();
  EXPECT_GE(Clock::now() - begin, milliseconds(30));
  expect_done(pair.receiver(), ticket);
}

TEST(FaultTransport, AMessageOfAnotherChannelOvertakesAndNoneOfTheSame) {
  Pair pair({"reorder:message=0,ms=100000"});
  const Ticket activation = pair.expect();
  const Ticket gradient = pair.expect(MessageClass::gradient);
  pair.send({10, 11});
  EXPECT_FALSE(pair.receiver().wait(activation, Clock::now()));
  pair.send({20}, MessageClass::gradient);
  expect_done(pair.receiver(), gradient);
  expect_done(pair.receiver(), activation);
  EXPECT_THAT(pair.receive(1), ElementsAre(11));
  pair.finish_sending();
}

TEST(FaultTransport, ASlowSenderTakesItsTime) {
  Pair pair({"slow:ms=5"});
  const Clock::time_point begin = Clock::now();
  pair.send({10, 11, 12});
  EXPECT_GE(Clock::now() - begin, milliseconds(15));
  EXPECT_THAT(pair.receive(3), ElementsAre(10, 11, 12));
  pair.finish_sending();
}

// Which of 200 messages arrive.
std::vector<int> arriving(std::uint64_t seed) {
  Pair pair({"drop:share=0.3"}, seed);
  std::vector<std::uint8_t> numbers(200);
  std::iota(numbers.begin(), numbers.end(), std::uint8_t{0});
  pair.send(numbers);
  std::vector<int> arrived;
  while (pair.receiver().wait(pair.expect(), Clock::now())) {
    arrived.push_back(pair.last_received());
  }
  return arrived;
}

TEST(FaultTransport, TheSeedAloneSaysWhichMessagesALotMeets) {
  const std::vector<int> arrived = arriving(1);
  EXPECT_EQ(arriving(1), arrived);
  EXPECT_NE(arriving(2), arrived);
  // 140 are expected; six standard deviations of sqrt(200 * 0.3 * 0.7) are 39.
  EXPECT_NEAR(static_cast<double>(arrived.size()), 140.0, 39.0);
}

TEST(FaultTransport, ADeadThreadThrowsWhatEndsTheJob) {
  Pair pair({"die:rank=0,message=1"});
  const std::jthread rank([&] {
    pair.send({10});
    EXPECT_EQ(refusal(ExitCode::timeout,
                      [&] {
                        pair.send({11});
                        return true;
                      }),
              "nobody moves");
  });
  EXPECT_THAT(pair.receive(1), ElementsAre(10));
  const Ticket never = pair.expect();
  EXPECT_FALSE(pair.receiver().wait(never, Clock::now() + milliseconds(20)));
  pair.receiver().abort(ExitCode::timeout, "nobody moves");
}

TEST(FaultTransportDeathTest, ADeadProcessIsKilledAndHasSaidSo) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        std::vector<std::unique_ptr<Transport>> two = make_inproc_transports(2);
        const std::unique_ptr<Transport> transport =
            make_fault_transport(std::move(two[0]), plan_of({"die"}));
        static_cast<void>(transport->post_send(1, MessageClass::gradient, {}));
      },
      testing::KilledBySignal(SIGKILL), "rank 0 dies instead of sending gradient 0->1");
}

TEST(FaultTransport, AFaultOfARankThatThereIsNotIsRefused) {
  EXPECT_THAT(refusal(ExitCode::usage, [] { return Pair({"drop:rank=2"}).sender().rank(); }),
              HasSubstr("'drop' is for rank 2, but the ranks are 0 to 1"));
}

}  // namespace
}  // namespace dualpipe
