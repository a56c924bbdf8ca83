#include "scheduler/infer.h"

#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/error.h"
#include "scheduler/pipeline.h"
#include "scheduler/schedule.h"
#include "tests/support/refusal.h"
#include "tests/support/schedules.h"

namespace dualpipe {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

Pipeline inferred(const std::vector<std::string_view>& rows) {
  std::vector<std::vector<Slot>> ranks;
  for (const std::string_view row : rows) {
    ranks.push_back(slots_of(row));
  }
  return infer_pipeline(ranks, "dir/mine.csv");
}

std::string refusal_of(const std::vector<std::string_view>& rows) {
  return refusal(ExitCode::invalid_schedule, [&] { return inferred(rows); });
}

TEST(Infer, AStageLivesWhereItsOpsAre) {
  const Pipeline pipeline = inferred({"0F0 2F0 2B0 0B0", "1F0 1B0"});
  EXPECT_EQ(pipeline.name, "mine");
  EXPECT_EQ(pipeline.placement.ranks, 2);
  EXPECT_THAT(pipeline.placement.rank_of_stage, ElementsAre(ElementsAre(0, 1, 0)));
  EXPECT_THAT(pipeline.direction, ElementsAre(0));
}

TEST(Infer, MicrobatchesOfTwoWaysAreTwoDirectionsInOrderOfAppearance) {
  const Pipeline pipeline = inferred({"1F0 1B0 0F1 0B1 1F2 1B2", "0F0 0B0 1F1 1B1 0F2 0B2"});
  EXPECT_THAT(pipeline.placement.rank_of_stage, ElementsAre(ElementsAre(1, 0), ElementsAre(0, 1)));
  EXPECT_THAT(pipeline.direction, ElementsAre(0, 1, 0));
}

TEST(Infer, RanksWithoutOpsCount) {
  EXPECT_EQ(inferred({"0F0 0B0", "", "1F0 1B0", ""}).placement.ranks, 4);
}

// A microbatch that shows only part of its way goes the way that fits it.
TEST(Infer, PartsOfAWayAreEnough) {
  const Pipeline pipeline = inferred({"0F0 1F1 1B1 0F2", "1F0 1B0 0F1 0B1"});
  EXPECT_THAT(pipeline.placement.rank_of_stage, ElementsAre(ElementsAre(0, 1), ElementsAre(1, 0)));
  EXPECT_THAT(pipeline.direction, ElementsAre(0, 1, 0));
}

// One op astray makes a second way only if all of its microbatch agrees with that; then compile()
// says what is missing. Three ways are no directions: each stage goes where most of its ops are.
TEST(Infer, MoreThanTwoWaysAreOneDirectionWithStrayOps) {
  const Pipeline pipeline =
      inferred({"0F0 0B0 0F1 0B1 0F2 0B2 1F1", "1F0 1B0 1B1 1B2", "1F2 0F3 0B3 1F3 1B3"});
  EXPECT_THAT(pipeline.placement.rank_of_stage, ElementsAre(ElementsAre(0, 1)));
  EXPECT_THAT(pipeline.direction, ElementsAre(0, 0, 0, 0));
}

TEST(Infer, RefusesAStageThatNoOpShows) {
  EXPECT_THAT(refusal_of({"0F0 0B0", "2F0 2B0"}),
              AllOf(StartsWith("dir/mine.csv: no op shows which rank runs stage 1"),
                    HasSubstr("every stage from 0 to 2"), HasSubstr("(JSON)")));
}

TEST(Infer, RefusesRowsWithoutOps) {
  EXPECT_THAT(refusal_of({"", ""}), StartsWith("dir/mine.csv: expected a schedule, found no ops"));
}

TEST(Infer, RefusesNumbersOutOfProportionToTheOps) {
  EXPECT_THAT(refusal_of({"0F0 0B0 0F9"}),
              AllOf(HasSubstr("1 stages and 10 microbatches"), HasSubstr("only 3 ops")));
  EXPECT_THAT(refusal_of({"0F0 5B0"}), HasSubstr("6 stages and 1 microbatches"));
}

TEST(NameFromOrigin, IsTheFileWithoutFolderAndExtension) {
  EXPECT_EQ(name_from_origin("bench/mine.csv"), "mine");
  EXPECT_EQ(name_from_origin("mine"), "mine");
  EXPECT_EQ(name_from_origin("a.b/v1.2.json"), "v1.2");
  EXPECT_EQ(name_from_origin("stdin"), "stdin");
}

TEST(NameFromOrigin, IsScheduleWhereThatIsNoPlainName) {
  EXPECT_EQ(name_from_origin("dir/.csv"), "schedule");
  EXPECT_EQ(name_from_origin(""), "schedule");
  EXPECT_EQ(name_from_origin("dir/"), "schedule");
  EXPECT_EQ(name_from_origin("\xc3\xbc.csv"), "schedule");
  EXPECT_EQ(name_from_origin("a\tb.csv"), "schedule");
}

}  // namespace
}  // namespace dualpipe
