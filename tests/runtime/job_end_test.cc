#include "runtime/job_end.h"

#include <chrono>
#include <cstddef>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <unistd.h>

#include "costs/error.h"
#include "runtime/forked_transport.h"
#include "runtime/transport.h"
#include "tests/support/all_ranks.h"
#include "tests/support/refusal.h"
#include "tests/support/transport_checks.h"

namespace dualpipe {
namespace {

constexpr std::chrono::milliseconds short_patience{20};
constexpr std::chrono::hours long_patience{1};

template <typename Work>
Failure failure_of(const Work& work) {
  try {
    work();
  } catch (...) {
    return current_failure();
  }
  return {};
}

[[noreturn]] void fail(Transport& transport, std::chrono::nanoseconds patience) {
  try {
    throw Error(ExitCode::input_output, "no such file");
  } catch (...) {
    abort_unless_first_rank_does(transport, patience);
    throw;
  }
}

void wait_for_word_from(Transport& transport, int rank) {
  std::vector<std::byte> buffer(8);
  static_cast<void>(transport.wait(transport.post_receive(rank, MessageClass::control, buffer),
                                   generous_deadline()));
}

TEST(CurrentFailure, HasTheCodeAndTheWordsOfWhatWasThrown) {
  const Failure error = failure_of([] { throw Error(ExitCode::timeout, "too late"); });
  EXPECT_EQ(error.code, ExitCode::timeout);
  EXPECT_EQ(error.words, "too late");
  const Failure bug = failure_of([] { throw std::runtime_error("a bug"); });
  EXPECT_EQ(bug.code, ExitCode::internal_error);
  EXPECT_EQ(bug.words, "a bug");
  const Failure unknown = failure_of([] { throw 42; });
  EXPECT_EQ(unknown.code, ExitCode::internal_error);
  EXPECT_EQ(unknown.words, "an exception of an unknown type");
}

TEST(JobEnd, AFailureOfOneRankIsHeardByAllUnderItsName) {
  const auto ends = on_all_ranks(3, [](Transport& transport) {
    transport.rank() == 1 ? fail(transport, short_patience) : wait_for_word_from(transport, 1);
  });
  EXPECT_EQ(ends[0].message, "rank 1: no such file");
  EXPECT_EQ(ends[2].message, "rank 1: no such file");
  EXPECT_EQ(ends[0].code, ExitCode::input_output);
}

TEST(JobEnd, AFailureOfOneProcessIsHeardByTheFirst) {
  const std::unique_ptr<Transport> transport = fork_ranks(2);
  if (transport->rank() == 1) {
    try {
      fail(*transport, short_patience);
    } catch (const Error& error) {
      ::_exit(static_cast<int>(error.code()));
    }
  }
  EXPECT_EQ(refusal(ExitCode::input_output,
                    [&] {
                      wait_for_word_from(*transport, 1);
                      return 0;
                    }),
            "rank 1: no such file");
}

TEST(JobEnd, AFailureOfTheFirstRankIsToldAtOnce) {
  const auto ends = on_all_ranks(3, [](Transport& transport) {
    transport.rank() == 0 ? fail(transport, long_patience) : wait_for_word_from(transport, 0);
  });
  EXPECT_EQ(ends[1].message, "no such file");
  EXPECT_EQ(ends[2].code, ExitCode::input_output);
}

TEST(JobEnd, AFailureOfAllIsTheFirstRanksToTell) {
  const auto ends = on_all_ranks(4, [](Transport& transport) { fail(transport, long_patience); });
  for (const RankEnd& end : ends) {
    EXPECT_EQ(end.message, "no such file");
    EXPECT_EQ(end.code, ExitCode::input_output);
  }
}

}  // namespace
}  // namespace dualpipe
