#include "runtime/verification.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/error.h"
#include "runtime/collectives.h"
#include "runtime/executor.h"
#include "runtime/transport.h"
#include "runtime/watchdog.h"
#include "scheduler/compile.h"
#include "scheduler/generate.h"
#include "scheduler/pipeline.h"
#include "scheduler/program.h"
#include "tests/support/all_ranks.h"
#include "tests/support/toy_stage.h"

namespace dualpipe {
namespace {

using testing::HasSubstr;

Program program_of(std::string_view family, int ranks, int microbatches) {
  return compile_or_throw(
      generate(find_family(family), {.ranks = ranks, .microbatches = microbatches}));
}

TEST(Verification, TheOrderOfSumsIsThePlainOneWhereNoHalfIsSplitBetweenReplicas) {
  Pipeline pipeline = program_of("dualpipe", 2, 4).pipeline();
  const auto with = [&](std::vector<int> direction) {
    pipeline.direction = std::move(direction);
    return sums_in_plain_order(pipeline);
  };
  EXPECT_TRUE(with({0, 0, 1, 1}));
  EXPECT_TRUE(with({1, 1, 0, 0}));
  EXPECT_FALSE(with({0, 1, 0, 1}));
  EXPECT_FALSE(with({0, 0, 1, 0}));
  EXPECT_TRUE(with({0, 0, 0, 0}));
  EXPECT_TRUE(sums_in_plain_order(program_of("1f1b", 2, 4).pipeline()));
}

// The gradients of one stage with one element off by `error`, as rank 0 finds them. 1f1b with one
// rank: nothing but the comparison is between the two.
GradientDifference found_with(float error) {
  const Program program = program_of("1f1b", 1, 2);
  GradientDifference largest;
  float expected = 0.0F;
  expect_success_on_all_ranks(1, [&](Transport& transport) {
    const BoundedWait waits(program, transport, std::chrono::seconds(20));
    Executor executor(program, transport, toy_factory(model_of(program.pipeline())), {});
    Verification verification(program, waits, toy_factory(model_of(program.pipeline())));
    static_cast<void>(executor.run(0));
    const std::span<const float> gradient = executor.stages().front().gradient;
    for (const float one : gradient) {
      expected = std::max(expected, std::abs(one));
    }
    const_cast<float&>(gradient[2]) += error;
    verification.compare(0, executor);
    largest = verification.largest();
  });
  EXPECT_NEAR(largest.absolute, std::abs(error), 1e-6 * std::abs(error) + 1e-5 * expected);
  EXPECT_NEAR(largest.relative, largest.absolute / expected, 1e-6);
  return largest;
}

TEST(Verification, FindsHowFarAGradientIsOffAndOfWhat) {
  EXPECT_EQ(found_with(0.0F).absolute, 0.0);
  EXPECT_GT(found_with(0.25F).absolute, 0.2);
}

TEST(Verification, RefusesGradientsOfAnotherSizeNamingTheRank) {
  const Program program = program_of("1f1b", 2, 2);
  const std::vector<RankEnd> ends = on_all_ranks(2, [&](Transport& transport) {
    try {
      const BoundedWait waits(program, transport, std::chrono::seconds(20));
      Executor executor(program, transport, toy_factory(model_of(program.pipeline())), {});
      static_cast<void>(executor.run(0));
      Verification verification(program, waits, toy_factory(model_of(program.pipeline())));
      if (transport.rank() == 1) {
        static_cast<void>(gather(waits, {}));
        static_cast<void>(broadcast(waits, {}));
      } else {
        verification.compare(0, executor);
      }
    } catch (const Error& error) {
      transport.abort(error.code(), error.what());
      throw;
    }
  });
  for (const RankEnd& end : ends) {
    EXPECT_EQ(end.code, ExitCode::transport);
    EXPECT_THAT(end.message, HasSubstr("rank 1 sent 0 bytes of its gradients; expected 20"));
  }
}

}  // namespace
}  // namespace dualpipe
