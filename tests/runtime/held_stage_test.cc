#include "runtime/held_stage.h"

#include <memory>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/error.h"
#include "runtime/rank_plan.h"
#include "runtime/stage.h"
#include "scheduler/compile.h"
#include "scheduler/generate.h"
#include "scheduler/program.h"
#include "tests/support/refusal.h"
#include "tests/support/schedules.h"
#include "tests/support/toy_stage.h"

namespace dualpipe {
namespace {

using testing::AllOf;
using testing::HasSubstr;

Program program_of(const char* family, int ranks, int microbatches) {
  return compile_or_throw(
      generate(find_family(family), {.ranks = ranks, .microbatches = microbatches}), eager);
}

TEST(HeldStage, IsOnePerStageAndDirectionOfTheRank) {
  const Program program = program_of("dualpipe", 4, 8);
  const ToyModel model{.stages = 4, .microbatches = 8, .before = {}};
  // Rank 1 of four holds stage 1 one way and stage 2 the other way.
  const std::vector<HeldStage> stages = make_held_stages(plan_rank(program, 1), toy_factory(model));
  ASSERT_EQ(stages.size(), 2U);
  EXPECT_EQ(stages[0].stage, 1);
  EXPECT_EQ(stages[0].direction, 0);
  EXPECT_EQ(stages[1].stage, 2);
  EXPECT_EQ(stages[1].direction, 1);
  EXPECT_EQ(find_stage(stages, 2), stages[1].object.get());
  EXPECT_EQ(find_stage(stages, 0), nullptr);
}

TEST(HeldStage, NeighboursMustAgreeOnTheirBoundary) {
  const Program program = program_of("dualpipev", 2, 4);  // stages 1 and 2 are on rank 1
  const StageFactory each_alone = [](int stage) {
    return std::make_unique<ToyStage>(
        ToyModel{.stages = stage + 1, .microbatches = 4, .before = {}}, stage);
  };
  EXPECT_THAT(
      refusal(ExitCode::usage,
              [&] { return make_held_stages(plan_rank(program, 1), each_alone).size(); }),
      AllOf(HasSubstr("stage 1 gives 0 bytes"), HasSubstr("stage 2 takes 20"), HasSubstr("agree")));
}

// A stage that says itself what the user can do keeps its code; anything else is its failure.
TEST(HeldStage, ThatCannotBeMadeOrAllocatedIsNamedWithItsRank) {
  const Program program = program_of("1f1b", 4, 4);
  const ToyModel model{.stages = 4, .microbatches = 4, .before = {}};
  const StageFactory refuses = [](int) -> std::unique_ptr<Stage> {
    throw Error(ExitCode::infeasible, "no memory for 5 bytes");
  };
  EXPECT_THAT(refusal(ExitCode::infeasible,
                      [&] { return make_held_stages(plan_rank(program, 2), refuses).size(); }),
              HasSubstr("rank 2: making stage 2: no memory for 5 bytes"));
  const StageFactory allocated = [&](int stage) {
    std::unique_ptr<Stage> object = std::make_unique<ToyStage>(model, stage);
    object->allocate(1);  // The second time is against its contract.
    return object;
  };
  EXPECT_THAT(refusal(ExitCode::callback,
                      [&] { return make_held_stages(plan_rank(program, 2), allocated).size(); }),
              HasSubstr("rank 2: allocate() of stage 2 failed: broken contract"));
}

}  // namespace
}  // namespace dualpipe
