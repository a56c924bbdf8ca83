#include "scheduler/validate.h"

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "scheduler/compile.h"
#include "scheduler/generate.h"
#include "scheduler/schedule.h"
#include "scheduler/violations.h"
#include "tests/support/schedules.h"

namespace dualpipe {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using testing::UnorderedElementsAre;

// "missing, rank 1, slot -1: 1F0 is missing" for each violation.
std::vector<std::string> violations_of(const Schedule& schedule) {
  Violations violations;
  validate(schedule, violations);
  std::vector<std::string> texts;
  for (const Violation& violation : violations.take()) {
    texts.push_back(std::string(to_string(violation.kind)) + ", rank " +
                    std::to_string(violation.rank) + ", slot " + std::to_string(violation.slot) +
                    ": " + violation.message);
  }
  return texts;
}

// Two ranks, one stage each, two microbatches, unless `head` says otherwise.
std::vector<std::string> violations_of(
    std::string_view rows, const std::string& head = "placement: 0 1\ndirection: 0*2\n") {
  return violations_of(written(head + std::string(rows)));
}

TEST(Validate, FindsNothingWrongWithAGoodSchedule) {
  EXPECT_THAT(violations_of("0F0 0F1 0B0 0I1 0W1\n1F0 1B0 1F1 1B1\n"), IsEmpty());
}

// --- shape ---

TEST(Validate, PartsMustFitEachOther) {
  Schedule schedule = written("0F0 0B0\n1F0 1B0\n");
  schedule.pipeline.placement.ranks = 3;
  EXPECT_THAT(violations_of(schedule),
              ElementsAre("shape, rank 0, slot -1: the placement is for 3 ranks, but the schedule "
                          "has 2 rows"));
  schedule = written("0F0 0B0\n1F0 1B0\n");
  schedule.pipeline.placement.rank_of_stage[0][1] = 2;
  EXPECT_THAT(violations_of(schedule),
              ElementsAre("shape, rank 0, slot -1: the placement names rank 2, but the ranks are "
                          "0..1"));
  schedule.pipeline.placement.rank_of_stage[0][1] = -1;
  EXPECT_THAT(violations_of(schedule), ElementsAre(HasSubstr("names rank -1")));
  schedule = written("0F0 0B0\n1F0 1B0\n");
  schedule.pipeline.placement.rank_of_stage.push_back({0});
  EXPECT_THAT(violations_of(schedule), ElementsAre(HasSubstr("different numbers of stages")));
  schedule = written("0F0 0B0\n1F0 1B0\n");
  schedule.pipeline.direction = {1};
  EXPECT_THAT(violations_of(schedule),
              ElementsAre(HasSubstr("has direction 1, but the directions are 0..0")));
}

TEST(Validate, ThereMustBeStagesAndMicrobatches) {
  for (const int part : {0, 1, 2}) {
    Schedule schedule = written("0F0 0B0\n");
    if (part == 0) {
      schedule.pipeline.placement.rank_of_stage.clear();
    } else if (part == 1) {
      schedule.pipeline.placement.rank_of_stage = {{}};
    } else {
      schedule.pipeline.direction.clear();
    }
    EXPECT_THAT(violations_of(schedule),
                ElementsAre("shape, rank 0, slot -1: the schedule has no stages or no "
                            "microbatches"));
  }
}

TEST(Validate, EveryOpOutsideIsNamed) {
  EXPECT_THAT(violations_of("0F0 0F1 0F2 0B0 0B1\n1F0 1B0 1F1 1B1 2F0\n"),
              ElementsAre("shape, rank 0, slot 2: 0F2 is outside the schedule's 2 stages and 2 "
                          "microbatches",
                          "shape, rank 1, slot 4: 2F0 is outside the schedule's 2 stages and 2 "
                          "microbatches"));
}

// --- missing ---

TEST(Validate, NamesEveryMissingOp) {
  EXPECT_THAT(violations_of("0F0 0B0 0B1\n1F0 1F1 1I1\n"),
              ElementsAre("missing, rank 0, slot -1: 0F1 is missing",
                          "missing, rank 1, slot -1: 1B0 (or 1I0 and 1W0) is missing",
                          "missing, rank 1, slot 2: 1W1 is missing, which 1I1 leaves to be done"));
}

TEST(Validate, AWeightHalfAloneIsNoBackward) {
  EXPECT_THAT(violations_of("0F0 0W0\n", "placement: 0\ndirection: 0\n"),
              ElementsAre(HasSubstr("0B0 (or 0I0 and 0W0) is missing")));
}

TEST(Validate, AnEmptyScheduleMissesEverything) {
  EXPECT_THAT(violations_of("\n\n"), SizeIs(8));
}

// --- inference ---

TEST(Validate, ForwardsAloneAreInferenceAndComplete) {
  EXPECT_THAT(violations_of("0F0 0F1\n1F0 1F1\n"), IsEmpty());
  EXPECT_THAT(violations_of("0F0 0F1\n1F0\n"),
              ElementsAre("missing, rank 1, slot -1: 1F1 is missing"));
}

TEST(Validate, OneBackwardAsksForAll) {
  EXPECT_THAT(violations_of("0F0 0F1 0B0\n1F0 1F1\n"), SizeIs(3));
}

// --- warnings ---

std::vector<std::string> warnings_in(std::string_view text) {
  return warnings_of(written(text));
}

TEST(Warnings, PyTorchNeedsTheLastStagesForwardsInTheOrderOfMicrobatches) {
  EXPECT_THAT(warnings_in("0F0 0F1 0B0 0B1\n1F0 1F1 1B0 1B1\n"), IsEmpty());
  EXPECT_THAT(warnings_in("0F1 0F0 0B0 0B1\n1F1 1F0 1B0 1B1\n"),
              ElementsAre("rank 1 runs 1F0 after 1F1: from forwards of the last stage that are not "
                          "in the order of microbatches, PyTorch computes wrong gradients"));
}

TEST(Warnings, OtherStagesAndInferenceMayForwardInAnyOrder) {
  EXPECT_THAT(warnings_in("0F1 0F0 1F0 1F1 1B0 1B1 0B0 0B1\n"), IsEmpty());
  EXPECT_THAT(warnings_in("0F1 0F0\n1F1 1F0\n"), IsEmpty());
}

// --- duplicate ---

TEST(Validate, NamesEveryOpThatIsThereTwice) {
  EXPECT_THAT(
      violations_of("0F0 0F0 0B0 0B0 0F1 0I1 0W1 0W1\n1F0 1B0 1F1 1B1\n"),
      ElementsAre("duplicate, rank 0, slot 1: 0F0 is there a second time",
                  "duplicate, rank 0, slot 3: 0B0 is there a second time (each microbatch has one "
                  "B, or one I and W)",
                  "duplicate, rank 0, slot 7: 0W1 is there a second time"));
}

TEST(Validate, AWholeBackwardAndItsHalvesAreTheSameTwice) {
  const std::string head = "placement: 0\ndirection: 0\n";
  EXPECT_THAT(violations_of("0F0 0B0 0I0\n", head),
              ElementsAre(HasSubstr("duplicate, rank 0, slot 2: 0I0 is there a second time")));
  EXPECT_THAT(violations_of("0F0 0I0 0B0 0W0\n", head),
              ElementsAre(HasSubstr("duplicate, rank 0, slot 2: 0B0 is there a second time")));
  EXPECT_THAT(violations_of("0F0 0B0 0W0\n", head),
              ElementsAre("duplicate, rank 0, slot 2: 0W0 does again what 0B0 has done"));
}

// --- placement ---

TEST(Validate, NamesOpsOnTheWrongRank) {
  EXPECT_THAT(violations_of("0F0 0F1 0B0 0B1 1B1\n1F0 1B0 1F1\n"),
              ElementsAre("placement, rank 0, slot 4: 1B1 is on rank 0, but stage 1 of microbatch "
                          "1 lives on rank 1"));
}

TEST(Validate, TheRankOfAStageDependsOnTheDirection) {
  EXPECT_THAT(
      violations_of("0F0 0F1 0B0 0B1\n1F0 1B0 1F1 1B1\n", "placement: 0 1 | 1 0\ndirection: 0 1\n"),
      UnorderedElementsAre(HasSubstr("0F1 is on rank 0, but stage 0 of microbatch 1 lives"),
                           HasSubstr("0B1 is on rank 0"), HasSubstr("1F1 is on rank 1"),
                           HasSubstr("1B1 is on rank 1")));
}

// --- order ---

TEST(Validate, NamesEveryOpThatComesBeforeWhatItReadsOnItsRank) {
  EXPECT_THAT(violations_of("0B0 0F0 0F1 0W1 0I1\n1F0 1B0 1F1 1B1\n"),
              ElementsAre("order, rank 0, slot 0: 0B0 comes before 0F0, whose result it reads",
                          "order, rank 0, slot 3: 0W1 comes before 0I1, whose result it reads"));
}

// The turn of a V is on one rank, so both its ways are ordered there.
TEST(Validate, OrdersStagesThatLiveOnOneRank) {
  EXPECT_THAT(violations_of("1F0 0F0 0B0 1B0\n", "placement: 0 0\ndirection: 0\n"),
              ElementsAre("order, rank 0, slot 0: 1F0 comes before 0F0, whose result it reads",
                          "order, rank 0, slot 2: 0B0 comes before 1B0, whose result it reads"));
}

TEST(Validate, AnOpCannotBeOverlappedWithWhatItReads) {
  EXPECT_THAT(violations_of("(0F0;0B0)OVERLAP_F_B\n", "placement: 0\ndirection: 0\n"),
              ElementsAre("order, rank 0, slot 0: 0B0 is overlapped with 0F0, whose result it "
                          "reads"));
}

// --- all at once ---

TEST(Validate, ReportsAllKindsThatCanBeToldAtOnce) {
  EXPECT_THAT(violations_of("0F0 0F0 0B0 1F1\n1F0 1B0 1B1\n"),
              UnorderedElementsAre(HasSubstr("duplicate, rank 0, slot 1"),
                                   HasSubstr("placement, rank 0, slot 3: 1F1"),
                                   HasSubstr("missing, rank 0, slot -1: 0F1"),
                                   HasSubstr("missing, rank 0, slot -1: 0B1")));
}

TEST(Validate, OrderIsJudgedOnlyOfWhatIsComplete) {
  EXPECT_THAT(violations_of("0B0 0F0 0F1\n1F0 1B0 1F1 1B1\n"),
              ElementsAre(HasSubstr("0B1 (or 0I1 and 0W1) is missing")));
}

TEST(Validate, ListsAtMostAHundredOfAKindAndCountsTheRest) {
  Schedule schedule = generate(find_family("gpipe"), {.ranks = 1, .microbatches = 150});
  schedule.ranks[0].erase(schedule.ranks[0].begin(), schedule.ranks[0].begin() + 150);
  schedule.ranks[0].push_back(schedule.ranks[0].front());
  Violations violations;
  validate(schedule, violations);
  EXPECT_EQ(violations.omitted(), 50);
  EXPECT_THAT(violations.take(), SizeIs(100 + 1));
}

// A file of a few bytes may claim any numbers; looking at it must cost in proportion to its ops.
TEST(Validate, JudgesAbsurdNumbersAtOnce) {
  Schedule schedule = written("0F0 0B0\n");
  schedule.pipeline.placement.rank_of_stage[0].resize(50'000, 0);
  schedule.pipeline.direction.resize(50'000, 0);
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_THAT(violations_of(schedule),
              ElementsAre(AllOf(HasSubstr("missing"), HasSubstr("need 2500000000 forwards"),
                                HasSubstr("2 ops in all"))));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(1));
}

}  // namespace
}  // namespace dualpipe
