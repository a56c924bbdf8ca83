#include "scheduler/arrange/memory_model.h"

#include <cstdint>
#include <optional>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/cost_model.h"
#include "costs/error.h"
#include "scheduler/arrange/tracks.h"
#include "scheduler/generate.h"
#include "scheduler/memory.h"
#include "scheduler/pipeline.h"
#include "tests/support/refusal.h"
#include "tests/support/simulated.h"

namespace dualpipe {
namespace {

// Two ranks, four stages; the last one's logits make it three times as large.
Target target_of(std::optional<MemoryLimit> memory) {
  Target target{.costs = equal_costs(4, stage_costs({})), .memory = memory};
  for (StageCosts& stage : target.costs.stages) {
    stage.bytes.activation = 100;
    stage.bytes.weight_operands = 90;
  }
  target.costs.stages.back().bytes.activation = 300;
  return target;
}

Tracks tracks_under(std::optional<MemoryLimit> memory, const OwnLimit& own) {
  const Target target = target_of(memory);
  Tracks tracks = tracks_of(v_placement(2), 6, target.costs);
  set_memory_model(tracks, target, own, "v");
  return tracks;
}

void expect_held(const Tracks& tracks, std::int64_t activation, std::int64_t weight_operands) {
  for (const Track& track : tracks.tracks) {
    EXPECT_EQ(track.activation, activation);
    EXPECT_EQ(track.weight_operands, weight_operands);
  }
}

TEST(MemoryModel, WithoutATargetLimitIsTheFamilysOwn) {
  const Tracks tracks = tracks_under(std::nullopt, {.activations = 5});
  EXPECT_EQ(tracks.limit, 5);
  expect_held(tracks, 1, 1);
}

TEST(MemoryModel, AFamilyThatHalvesCountsInHalves) {
  const Tracks tracks = tracks_under(std::nullopt, {.activations = 5, .halved_by_input = true});
  EXPECT_EQ(tracks.limit, 10);
  expect_held(tracks, 2, 1);
}

TEST(MemoryModel, AFamilysOwnLimitIsRaisedToWhatOneMicrobatchNeeds) {
  EXPECT_EQ(tracks_under(std::nullopt, {.activations = 1}).limit, 2);
  EXPECT_EQ(tracks_under(std::nullopt, {.activations = 1, .halved_by_input = true}).limit, 4);
}

TEST(MemoryModel, ATargetInActivationsCountsWholeOnesWhateverTheFamilyDoes) {
  const Tracks tracks =
      tracks_under(MemoryLimit{.amount = 3}, {.activations = 5, .halved_by_input = true});
  EXPECT_EQ(tracks.limit, 3);
  expect_held(tracks, 1, 1);
}

TEST(MemoryModel, ATargetInBytesCountsWhatEveryStageKeeps) {
  const Tracks tracks = tracks_under(MemoryLimit{.amount = 1000, .unit = MemoryLimit::Unit::bytes},
                                     {.activations = 5});
  EXPECT_EQ(tracks.limit, 1000);
  EXPECT_EQ(tracks[0].activation, 100);
  EXPECT_EQ(tracks[0].weight_operands, 90);
  EXPECT_EQ(tracks[3].activation, 300);
}

// Rank 0 has 1000 B of parameters and needs 200 B for a microbatch, rank 1 none and 400 B.
TEST(MemoryModel, EveryRankHasRoomForWhatItsParametersLeave) {
  const auto under = [](std::int64_t amount) {
    Target target = target_of(MemoryLimit{.amount = amount, .unit = MemoryLimit::Unit::bytes});
    std::swap(target.costs.stages[3].bytes, target.costs.stages[2].bytes);
    target.costs.stages[0].bytes.weights = 1000;
    Tracks tracks = tracks_of(v_placement(2), 6, target.costs);
    set_memory_model(tracks, target, {.activations = 5}, "v");
    return tracks;
  };
  const Tracks tracks = under(1200);
  EXPECT_EQ(tracks.resident_of(0), 1000);
  EXPECT_EQ(tracks.resident_of(1), 0);
  EXPECT_EQ(least_limit(tracks), 1200);
  EXPECT_THAT(refusal(ExitCode::infeasible, [&] { return under(1199).limit; }),
              testing::HasSubstr("needs at least 1.172 KiB"));
}

TEST(MemoryModel, ALimitThatIsTooLowIsRefusedNamingTheLeast) {
  EXPECT_EQ(
      refusal(ExitCode::infeasible,
              [] { return tracks_under(MemoryLimit{.amount = 1}, {.activations = 5}).limit; }),
      "v needs at least 2 stage activations per rank for this shape; the memory limit is 1 "
      "stage activation");
  const auto under_bytes = [](std::int64_t amount) {
    return tracks_under(MemoryLimit{.amount = amount, .unit = MemoryLimit::Unit::bytes},
                        {.activations = 5})
        .limit;
  };
  EXPECT_EQ(refusal(ExitCode::infeasible, [&] { return under_bytes(399); }),
            "v needs at least 400 B per rank for this shape; the memory limit is 399 B");
  EXPECT_EQ(under_bytes(400), 400);
}

}  // namespace
}  // namespace dualpipe
