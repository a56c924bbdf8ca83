#include "scheduler/memory.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/cost_model.h"
#include "costs/error.h"
#include "scheduler/op.h"
#include "scheduler/pipeline.h"
#include "scheduler/schedule.h"
#include "tests/support/random_schedule.h"
#include "tests/support/refusal.h"
#include "tests/support/schedules.h"

namespace dualpipe {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

struct Peaks {
  int activations = 0;
  std::int64_t bytes = 0;

  bool operator==(const Peaks&) const = default;
};

Peaks peaks_of(std::string_view slots, const std::vector<StageBytes>& bytes,
               MemoryPurpose purpose = MemoryPurpose::training) {
  MemoryCount memory(bytes, purpose);
  for (const Slot& slot : slots_of(slots)) {
    memory.run(slot);
  }
  return {memory.peak_activations(), memory.peak().total()};
}

const std::vector<StageBytes> ten_and_four{{.activation = 10, .weight_operands = 4}};

TEST(MemoryCount, AnActivationIsAliveUntilItsWeightHalf) {
  EXPECT_EQ(peaks_of("0F0 0I0 0F1 0W0 0I1 0W1", ten_and_four), (Peaks{2, 4 + 10}));
  EXPECT_EQ(peaks_of("0F0 0I0 0W0 0F1 0I1 0W1", ten_and_four), (Peaks{1, 10}));
}

TEST(MemoryCount, AWholeBackwardKeepsNoOperands) {
  EXPECT_EQ(peaks_of("0F0 0F1 0B0 0F2 0B1 0B2", ten_and_four), (Peaks{2, 20}));
}

// The forward's is there before the backward's goes.
TEST(MemoryCount, APairHoldsBothActivations) {
  EXPECT_EQ(peaks_of("0F0 (0F1;0B0)OVERLAP_F_B 0B1", ten_and_four), (Peaks{2, 20}));
  EXPECT_EQ(peaks_of("0F0 0B0 0F1 0B1", ten_and_four), (Peaks{1, 10}));
}

TEST(MemoryCount, OperandsMayBeMoreThanTheActivation) {
  EXPECT_EQ(peaks_of("0F0 0I0 0W0", {{.activation = 10, .weight_operands = 25}}), (Peaks{1, 25}));
}

TEST(MemoryCount, WithoutBytesCountsActivationsAlone) {
  EXPECT_EQ(peaks_of("0F0 1F0 1B0 0B0", {}), (Peaks{2, 0}));
}

TEST(MemoryCount, InferenceKeepsNothingBeyondTheForward) {
  EXPECT_EQ(peaks_of("0F0 0F1 0F2", ten_and_four, MemoryPurpose::inference), (Peaks{1, 10}));
  EXPECT_EQ(peaks_of("0F0 0F1 0F2", ten_and_four), (Peaks{3, 30}));
}

// Rank 0 has stage 0 of one direction and stage 1 of the other. It receives an activation for stage
// 1 and a gradient for stage 0, each as wide as the boundary that stage 0 ends with.
TEST(ResidentMemory, IsEveryStageOfTheRankAndTwoBuffersPerKindOfMessage) {
  const Placement placement = bidirectional_placement(2);
  const std::vector<StageBytes> bytes{
      {.boundary = 1000, .weights = 1, .gradients = 10, .optimizer = 100},
      {.boundary = 0, .weights = 2, .gradients = 20, .optimizer = 200}};
  const MemoryUse expected{
      .weights = 3, .gradients = 30, .optimizer = 300, .receive_buffers = 4000};
  EXPECT_THAT(resident_memory(placement, bytes, MemoryPurpose::training),
              ElementsAre(expected, expected));
  EXPECT_THAT(resident_memory(placement, {}, MemoryPurpose::training),
              ElementsAre(MemoryUse{}, MemoryUse{}));
  // The turn of a V is no message.
  EXPECT_EQ(resident_memory(v_placement(1), bytes, MemoryPurpose::training)[0].receive_buffers, 0);
}

// No gradients travel, are added up or applied.
TEST(ResidentMemory, OfInferenceIsWeightsAndActivationsThatArrive) {
  const std::vector<StageBytes> bytes{
      {.boundary = 1000, .weights = 1, .gradients = 10, .optimizer = 100}, {.weights = 2}};
  EXPECT_THAT(
      resident_memory(linear_placement(2), bytes, MemoryPurpose::inference),
      ElementsAre(MemoryUse{.weights = 1}, MemoryUse{.weights = 2, .receive_buffers = 2000}));
}

// On one rank both directions of a stage share its parameters.
TEST(ResidentMemory, ARankHasOneCopyOfAStage) {
  const std::vector<StageBytes> bytes{{.weights = 1, .gradients = 10, .optimizer = 100}};
  EXPECT_THAT(resident_memory(bidirectional_placement(1), bytes, MemoryPurpose::training),
              ElementsAre(MemoryUse{.weights = 1, .gradients = 10, .optimizer = 100}));
}

TEST(MemoryCount, CountsWhatIsResidentAndLogitsToTheirBackward) {
  const std::vector<StageBytes> bytes{{.activation = 10, .weight_operands = 4, .logits = 7}};
  MemoryCount memory(bytes, MemoryPurpose::training, {.weights = 1000});
  for (const Slot& slot : slots_of("0F0 0F1 0I0 0W0")) {
    memory.run(slot);
  }
  EXPECT_EQ(memory.peak(), (MemoryUse{.weights = 1000, .activations = 20, .logits = 14}));
  EXPECT_EQ(memory.alive(), (MemoryUse{.weights = 1000, .activations = 10, .logits = 7}));
}

// What is alive, found anew before and after every slot from the ops that have been run.
Peaks counted(const std::vector<Slot>& slots, const std::vector<StageBytes>& bytes) {
  Peaks peaks;
  std::set<std::pair<int, int>> activations;  // stage, microbatch
  std::set<std::pair<int, int>> operands;
  const auto look = [&] {
    std::int64_t alive = 0;
    for (const auto& [stage, microbatch] : activations) {
      alive += bytes[static_cast<std::size_t>(stage)].activation;
    }
    for (const auto& [stage, microbatch] : operands) {
      alive += bytes[static_cast<std::size_t>(stage)].weight_operands;
    }
    peaks.activations =
        std::max(peaks.activations, static_cast<int>(activations.size() + operands.size()));
    peaks.bytes = std::max(peaks.bytes, alive);
  };
  for (const Slot& slot : slots) {
    for (const Op& op : slot) {
      if (op.kind == OpKind::forward) {
        activations.insert({op.stage, op.microbatch});
      }
    }
    look();
    for (const Op& op : slot) {
      if (op.kind == OpKind::backward_weight) {
        operands.erase({op.stage, op.microbatch});
      } else if (op.kind != OpKind::forward) {
        activations.erase({op.stage, op.microbatch});
      }
      if (op.kind == OpKind::backward_input) {
        operands.insert({op.stage, op.microbatch});
      }
    }
    look();
  }
  return peaks;
}

TEST(MemoryCount, OfRandomSchedulesIsWhatIsAliveAtEverySlot) {
  for (unsigned seed = 0; seed < 500; ++seed) {
    std::mt19937 random(seed);
    const Schedule schedule = random_schedule(random, {});
    const std::vector<StageBytes> bytes =
        stage_bytes_of(random_costs(random, schedule.pipeline.stages()));
    for (const std::vector<Slot>& slots : schedule.ranks) {
      MemoryCount memory(bytes);
      for (const Slot& slot : slots) {
        memory.run(slot);
      }
      EXPECT_EQ((Peaks{memory.peak_activations(), memory.peak().total()}), counted(slots, bytes))
          << "seed " << seed;
    }
  }
}

MemoryLimit activations(std::int64_t amount) {
  return {.amount = amount, .unit = MemoryLimit::Unit::activations};
}

MemoryLimit bytes(std::int64_t amount) {
  return {.amount = amount, .unit = MemoryLimit::Unit::bytes};
}

TEST(MemoryLimit, IsReadInActivationsOrInBytesWithTheirUnit) {
  EXPECT_EQ(parse_memory_limit("8"), activations(8));
  EXPECT_EQ(parse_memory_limit("0"), activations(0));
  EXPECT_EQ(parse_memory_limit("1024B"), bytes(1024));
  EXPECT_EQ(parse_memory_limit("512MiB"), bytes(536'870'912));
  EXPECT_EQ(parse_memory_limit("40GB"), bytes(40'000'000'000));
  EXPECT_EQ(parse_memory_limit("1.5KiB"), bytes(1536));
  EXPECT_EQ(parse_memory_limit("2kB"), bytes(2000));
  EXPECT_EQ(parse_memory_limit("1TiB"), bytes(1'099'511'627'776));
  EXPECT_EQ(parse_memory_limit("3TB"), bytes(3'000'000'000'000));
}

TEST(MemoryLimit, RefusesWhatIsNeither) {
  for (const char* text :
       {"", "x", "-1", "1.5", "8 GiB", "8gib", "8GiBs", "8G", "nan", "inf", "B", "0.5B", "7.25B",
        "1e300", "9007199254740993", "99999999TiB", " 8", "+8"}) {
    EXPECT_THAT(refusal(ExitCode::usage, [&] { return parse_memory_limit(text); }),
                testing::HasSubstr("memory limit: expected a whole number of stage activations"))
        << text;
  }
}

// 2.01 is no double, and the nearest one lies below it.
TEST(MemoryLimit, IsTheDecimalThatIsWritten) {
  EXPECT_EQ(parse_memory_limit("2.01MB"), bytes(2'010'000));
  EXPECT_EQ(parse_memory_limit("8.19kB"), bytes(8'190));
  EXPECT_EQ(parse_memory_limit("4.14TB"), bytes(4'140'000'000'000));
  EXPECT_EQ(parse_memory_limit("39.6GiB"), bytes(42'520'176'230));  // and 0.4 bytes
  EXPECT_EQ(parse_memory_limit("1.0B"), bytes(1));
}

TEST(MemoryLimit, IsPrintedForPeople) {
  EXPECT_EQ(to_string(activations(8)), "8 stage activations");
  EXPECT_EQ(to_string(activations(1)), "1 stage activation");
  EXPECT_EQ(to_string(bytes(1023)), "1023 B");
  EXPECT_EQ(to_string(bytes(13'421'772'800)), "12.5 GiB");
}

TEST(ParseBytes, TakesANumberWithAndWithoutAUnit) {
  EXPECT_EQ(parse_bytes("1024"), 1024);
  EXPECT_EQ(parse_bytes("1KiB"), 1024);
  EXPECT_EQ(parse_bytes("0B"), 0);
  EXPECT_EQ(parse_bytes("-1"), std::nullopt);
  EXPECT_EQ(parse_bytes("1.5"), std::nullopt);
  EXPECT_EQ(parse_bytes("many"), std::nullopt);
}

// Rank 0 holds three activations from its third slot on, rank 1 never more than one.
TEST(FindExcess, NamesTheFirstSlotOverTheLimitAndTheRanksPeak) {
  const Schedule schedule =
      written("0F0,0F1,0F2,0B0,0F3,0B1,0B2,0B3\n1F0,1B0,1F1,1B1,1F2,1B2,1F3,1B3\n");
  const std::vector<StageBytes> sizes{{.activation = 10}, {.activation = 100}};
  EXPECT_FALSE(find_excess(schedule, sizes, activations(3)));
  const std::optional<MemoryExcess> excess = find_excess(schedule, sizes, activations(2));
  ASSERT_TRUE(excess.has_value());
  EXPECT_EQ(excess->rank, 0);
  EXPECT_EQ(excess->slot, 2);
  EXPECT_EQ(excess->peak, 3);
  const std::optional<MemoryExcess> in_bytes = find_excess(schedule, sizes, bytes(99));
  ASSERT_TRUE(in_bytes.has_value());
  EXPECT_EQ(in_bytes->rank, 1);
  EXPECT_EQ(in_bytes->slot, 0);
  EXPECT_EQ(in_bytes->peak, 100);
  EXPECT_FALSE(find_excess(schedule, sizes, bytes(100)));
}

TEST(FindExcesses, ListsEveryRankThatGoesOver) {
  const Schedule schedule = written("0F0,0F1,0B0,0B1\n1F0,1B0,1F1,1B1\n");
  EXPECT_THAT(find_excesses(schedule, {}, activations(0)), SizeIs(2));
  EXPECT_THAT(find_excesses(schedule, {}, activations(1)), SizeIs(1));
  EXPECT_THAT(find_excesses(schedule, {}, activations(2)), IsEmpty());
}

TEST(FindExcesses, OfInferenceCountOneActivationAtATime) {
  const Schedule schedule = written("0F0,0F1,0F2\n1F0,1F1,1F2\n");
  EXPECT_THAT(find_excesses(schedule, {}, activations(1)), IsEmpty());
  EXPECT_THAT(find_excesses(schedule, {}, activations(0)), SizeIs(2));
}

}  // namespace
}  // namespace dualpipe
