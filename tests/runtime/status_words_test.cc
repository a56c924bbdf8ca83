#include "runtime/status_words.h"

#include <cstdint>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "runtime/status.h"
#include "scheduler/compile.h"
#include "scheduler/generate.h"
#include "scheduler/program.h"

namespace dualpipe {
namespace {

// Two ranks, two stages, three microbatches: rank 0 runs 0F0 0F1 0B0 0F2 0B1 0B2.
Program example() {
  return compile_or_throw(generate(find_family("1f1b"), {.ranks = 2, .microbatches = 3}));
}

RankStatus status_of(Activity activity, std::int32_t index) {
  return {.step = 3,
          .since_ns = 20'000'000,
          .now_ns = 30'000'000,
          .activity = activity,
          .index = index};
}

TEST(StatusWords, AStatusOfEveryKindFitsWithinItsBoundsAndNotBeyond) {
  const Program program = example();
  const auto messages = static_cast<std::int32_t>(program.messages().size());
  const auto slots = static_cast<std::int32_t>(program.slots(0).size());
  for (const auto& [activity, count] : std::vector<std::pair<Activity, std::int32_t>>{
           {Activity::starting, 1},
           {Activity::running, slots},
           {Activity::awaiting_receive, messages},
           {Activity::awaiting_send, messages},
           {Activity::reducing_replicas, 2},
           {Activity::synchronizing, 2},
           {Activity::optimizing, 2},
           {Activity::finished, 1},
       }) {
    EXPECT_TRUE(fits(program, status_of(activity, 0), 0));
    EXPECT_TRUE(fits(program, status_of(activity, count - 1), 0));
    EXPECT_FALSE(fits(program, status_of(activity, count), 0));
    EXPECT_FALSE(fits(program, status_of(activity, -1), 0));
  }
  EXPECT_FALSE(fits(program, status_of(static_cast<Activity>(99), 0), 0));
  EXPECT_FALSE(fits(program, status_of(static_cast<Activity>(-1), 0), 0));
}

TEST(StatusWords, APastThatDoesNotFitIsNotBelieved) {
  const Program program = example();
  RankStatus status = status_of(Activity::running, 0);
  status.past_count = 1;
  EXPECT_TRUE(fits(program, status, 0));
  status.past[0] = {.activity = Activity::running, .index = 1000};
  EXPECT_FALSE(fits(program, status, 0));
  EXPECT_EQ(past_line(program, status, 0), "");
  status.past_count = 0;
  EXPECT_TRUE(fits(program, status, 0));
  for (const std::int32_t count : {-1, 1000}) {
    status.past_count = count;
    EXPECT_FALSE(fits(program, status, 0));
  }
}

TEST(StatusWords, ThePastIsToldWithTheLatestLastAndHowLongEachTook) {
  const Program program = example();
  RankStatus status = status_of(Activity::running, 3);  // since 20 ms
  status.past_count = 3;
  status.past[0] = {.since_ns = 17'500'000, .activity = Activity::running, .index = 2};
  status.past[1] = {.since_ns = 17'000'000, .activity = Activity::synchronizing, .index = 1};
  status.past[2] = {.since_ns = 5'000'000, .activity = Activity::running, .index = 0};
  EXPECT_EQ(describe_past(program, status, 0),
            "0F0 12.000 ms, synchronize with rank 1 0.500 ms, 0B0 2.500 ms");
  EXPECT_EQ(past_line(program, status, 0),
            "\nrank 0 before: 0F0 12.000 ms, synchronize with rank 1 0.500 ms, 0B0 2.500 ms");
}

TEST(StatusWords, NoPastIsNoLine) {
  EXPECT_EQ(past_line(example(), status_of(Activity::starting, 0), 0), "");
}

TEST(StatusWords, OneDirectionHasNoOtherHolder) {
  EXPECT_EQ(other_holder(example(), 0, 0), -1);
  const Program two =
      compile_or_throw(generate(find_family("dualpipe"), {.ranks = 4, .microbatches = 8}));
  EXPECT_EQ(other_holder(two, 0, 0), 3);
  EXPECT_EQ(other_holder(two, 2, 1), 2);
}

}  // namespace
}  // namespace dualpipe
