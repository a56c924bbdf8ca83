#include "runtime/rank_answers.h"

#include <chrono>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/error.h"
#include "runtime/collectives.h"
#include "runtime/transport.h"
#include "runtime/watchdog.h"
#include "scheduler/compile.h"
#include "scheduler/generate.h"
#include "scheduler/program.h"
#include "tests/support/all_ranks.h"

namespace dualpipe {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr int ranks = 3;

Program program() {
  return compile_or_throw(generate(find_family("1f1b"), {.ranks = ranks, .microbatches = 4}));
}

// What the ranks come to when each does this; as train() does, one that throws aborts.
template <typename Work>
std::vector<RankEnd> ends_of(const Work& work) {
  const Program of = program();
  return on_all_ranks(ranks, [&](Transport& transport) {
    try {
      work(BoundedWait(of, transport, std::chrono::seconds(20)), transport.rank());
    } catch (const Error& error) {
      transport.abort(error.code(), error.what());
      throw;
    }
  });
}

std::vector<std::byte> bytes_of(const std::string& text) {
  const std::span<const std::byte> bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

TEST(GatherValues, GivesRankZeroEveryRanksValues) {
  for (const RankEnd& end : ends_of([](const BoundedWait& waits, int rank) {
         const std::vector<double> own{1.0 * rank, 0.5};
         const auto all = gather_values(waits, std::span<const double>(own), "numbers");
         if (rank == 0) {
           EXPECT_THAT(all, ElementsAre(ElementsAre(0.0, 0.5), ElementsAre(1.0, 0.5),
                                        ElementsAre(2.0, 0.5)));
         } else {
           EXPECT_THAT(all, IsEmpty());
         }
       })) {
    EXPECT_EQ(end.code, ExitCode::ok) << end.message;
  }
}

TEST(GatherValues, OfAnotherSizeAreRefusedNamingTheRank) {
  for (const RankEnd& end : ends_of([](const BoundedWait& waits, int rank) {
         const std::vector<double> own(rank == 2 ? 2 : 4);
         static_cast<void>(gather_values(waits, std::span<const double>(own), "its losses"));
         static_cast<void>(broadcast(waits, {}));
       })) {
    EXPECT_EQ(end.code, ExitCode::transport);
    EXPECT_THAT(end.message, HasSubstr("rank 2 sent 16 bytes of its losses; expected 32"));
  }
}

TEST(GatherResults, GivesRankZeroWhatEveryAttemptReturned) {
  for (const RankEnd& end : ends_of([](const BoundedWait& waits, int rank) {
         const auto results = gather_results(
             waits, [&] { return bytes_of(std::string(static_cast<std::size_t>(rank), 'x')); });
         if (rank == 0) {
           EXPECT_THAT(results, ElementsAre(bytes_of(""), bytes_of("x"), bytes_of("xx")));
         }
       })) {
    EXPECT_EQ(end.code, ExitCode::ok) << end.message;
  }
}

TEST(GatherResults, WhatSomeRanksCannotDoRankZeroSaysNamingTheFirst) {
  for (const RankEnd& end : ends_of([](const BoundedWait& waits, int rank) {
         static_cast<void>(gather_results(waits, [&]() -> std::vector<std::byte> {
           if (rank > 0) {
             throw Error(ExitCode::input_output, "no room for part " + std::to_string(rank));
           }
           return {};
         }));
         static_cast<void>(broadcast(waits, {}));
       })) {
    EXPECT_EQ(end.code, ExitCode::input_output);
    EXPECT_EQ(end.message, "rank 1: no room for part 1");
  }
}

TEST(GatherResults, WhatNoRankCanDoIsSaidWithoutNamingOne) {
  for (const RankEnd& end : ends_of([](const BoundedWait& waits, int /*rank*/) {
         static_cast<void>(gather_results(waits, []() -> std::vector<std::byte> {
           throw Error(ExitCode::usage, "this stage cannot be saved");
         }));
       })) {
    EXPECT_EQ(end.code, ExitCode::usage);
    EXPECT_EQ(end.message, "this stage cannot be saved");
  }
}

TEST(GatherResults, AnAnswerThatIsNoneIsRefused) {
  for (const RankEnd& end : ends_of([](const BoundedWait& waits, int rank) {
         if (rank == 1) {
           static_cast<void>(gather(waits, bytes_of("x")));
         } else {
           static_cast<void>(gather_results(waits, [] { return std::vector<std::byte>{}; }));
         }
         static_cast<void>(broadcast(waits, {}));
       })) {
    EXPECT_EQ(end.code, ExitCode::transport);
    EXPECT_THAT(end.message, AllOf(HasSubstr("rank 1 sent 1 bytes"), Not(HasSubstr("rank 2"))));
  }
}

}  // namespace
}  // namespace dualpipe
