#include "runtime/forked_transport.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include "costs/error.h"
#include "runtime/status.h"
#include "runtime/transport.h"
#include "tests/support/refusal.h"
#include "tests/support/transport_checks.h"

namespace dualpipe {
namespace {

using testing::HasSubstr;

// Runs `work` in every rank's process. Other ranks than 0 end with it, and make rank 0 fail, or end
// at the latest when it leaves, where they fail.
template <typename Work>
void on_all_ranks(int ranks, const Work& work) {
  const std::unique_ptr<Transport> transport = fork_ranks(ranks);
  work(*transport);
  if (transport->rank() != 0) {
    if (testing::Test::HasFailure()) {
      transport->abort(ExitCode::internal_error, "a test of another rank has failed");
    }
    ::_exit(0);
  }
}

class ForkedTransport : public testing::TestWithParam<TransportCheck> {};

TEST_P(ForkedTransport, DoesWhatEveryTransportMust) {
  on_all_ranks(4, [](Transport& transport) {
    EXPECT_EQ(transport.name(), "forked");
    EXPECT_EQ(transport.ranks(), 4);
    GetParam().run(transport);
    meet(transport);
  });
}

std::string name_of(const testing::TestParamInfo<TransportCheck>& tested) {
  return std::string(tested.param.name);
}

INSTANTIATE_TEST_SUITE_P(Checks, ForkedTransport,
                         testing::ValuesIn(transport_checks().begin(), transport_checks().end()),
                         name_of);

TEST(ForkedTransportEnds, AMessageLargerThanARingGoesThroughInParts) {
  on_all_ranks(2, [](Transport& transport) {
    std::vector<std::byte> buffer = message_of(3, 100'000);
    if (transport.rank() == 0) {
      expect_done(transport, transport.post_send(1, MessageClass::control, buffer));
    } else {
      buffer.assign(buffer.size(), std::byte{0});
      expect_done(transport, transport.post_receive(0, MessageClass::control, buffer));
      EXPECT_EQ(buffer, message_of(3, 100'000));
    }
    meet(transport);
  });
}

TEST(ForkedTransportEnds, AnAbortIsHeardInEveryProcess) {
  on_all_ranks(3, [](Transport& transport) {
    if (transport.rank() == 2) {
      transport.abort(ExitCode::callback, "rank 2 has had enough");
      return;
    }
    std::vector<std::byte> buffer(8);
    EXPECT_EQ(refusal(ExitCode::callback,
                      [&] {
                        return transport.wait(
                            transport.post_receive(2, MessageClass::control, buffer),
                            generous_deadline());
                      }),
              "rank 2 has had enough");
  });
}

TEST(ForkedTransportEnds, ARankThatIsKilledIsNamed) {
  const std::unique_ptr<Transport> transport = fork_ranks(2);
  if (transport->rank() == 1) {
    ::raise(SIGKILL);
  }
  std::vector<std::byte> buffer(8);
  EXPECT_THAT(refusal(ExitCode::transport,
                      [&] {
                        return transport->wait(
                            transport->post_receive(1, MessageClass::control, buffer),
                            generous_deadline());
                      }),
              HasSubstr("rank 1 ended on signal 9"));
}

// When rank 0 waits for nothing any more, as a run whose last rank crashes while it clears up.
[[noreturn]] void leave_while(const std::function<void(Transport&)>& rank_1_does) {
  {
    const std::unique_ptr<Transport> transport = fork_ranks(2);
    if (transport->rank() == 1) {
      rank_1_does(*transport);
      ::_exit(0);
    }
  }
  ::_exit(0);
}

TEST(ForkedTransportDeathTest, ARankThatEndsBadlyAfterItsWorkEndsTheJobWithThat) {
  const auto exited = testing::ExitedWithCode(static_cast<int>(ExitCode::transport));
  EXPECT_EXIT(leave_while([](Transport&) { ::_exit(3); }), exited,
              "^error: rank 1 ended with exit code 3\n$");
  EXPECT_EXIT(leave_while([](Transport&) { ::raise(SIGKILL); }), exited,
              "^error: rank 1 ended on signal 9\n$");
  EXPECT_EXIT(
      leave_while([](Transport& transport) { transport.abort(ExitCode::callback, "too late"); }),
      testing::ExitedWithCode(static_cast<int>(ExitCode::callback)), "^error: too late\n$");
  EXPECT_EXIT(leave_while([](Transport&) {}), testing::ExitedWithCode(0), "^$");
}

TEST(ForkedTransportEnds, ARankStoppedInTheMiddleOfItsPageDoesNotHoldUpTheReport) {
  const std::unique_ptr<Transport> transport = fork_ranks(2);
  int process = ::getpid();
  if (transport->rank() == 1) {
    expect_done(*transport, transport->post_send(0, MessageClass::control,
                                                 std::as_bytes(std::span(&process, 1))));
    for (std::int32_t step = 0;; ++step) {
      transport->status().publish(step, Activity::running, 0);
    }
  }
  expect_done(*transport, transport->post_receive(1, MessageClass::control,
                                                  std::as_writable_bytes(std::span(&process, 1))));
  const auto step_of_rank_1 = [&]() -> std::optional<std::int64_t> {
    const auto statuses = transport->collect_status(generous_deadline());
    return statuses && (*statuses)[1] ? std::optional((*statuses)[1]->step) : std::nullopt;
  };
  std::optional<std::int64_t> step;
  do {  // until it is caught in the middle
    ::kill(process, SIGCONT);
    for (const auto before = step; step && step == before;) {
      step = step_of_rank_1();
    }
    ::kill(process, SIGSTOP);
    step = step_of_rank_1();
  } while (step);
  transport->abort(ExitCode::transport, "enough is known");
  ::kill(process, SIGKILL);
}

TEST(ForkedTransportEnds, EveryRanksStatusIsSeen) {
  on_all_ranks(3, [](Transport& transport) {
    transport.status().publish(4, Activity::running, transport.rank() + 10);
    meet(transport);
    if (transport.rank() == 1) {
      const auto statuses = transport.collect_status(generous_deadline());
      ASSERT_TRUE(statuses.has_value());
      for (std::size_t rank = 0; rank < 3; ++rank) {
        EXPECT_EQ((*statuses)[rank]->step, 4);
        EXPECT_EQ((*statuses)[rank]->index, static_cast<int>(rank) + 10);
      }
    }
    meet(transport);
    if (transport.rank() == 2) {
      EXPECT_FALSE(transport.collect_status(generous_deadline()).has_value());
    }
    meet(transport);
  });
}

}  // namespace
}  // namespace dualpipe
