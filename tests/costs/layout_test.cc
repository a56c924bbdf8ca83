#include "costs/layout.h"

#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/error.h"
#include "costs/model.h"
#include "costs/parallel.h"
#include "tests/support/published_models.h"
#include "tests/support/refusal.h"

namespace dualpipe {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

ModelConfig model_of(int layers, int mtp_layers = 0) {
  ModelConfig model = llama_3_8b();
  model.layers = layers;
  model.mtp_layers = mtp_layers;
  return model;
}

std::vector<int> layer_counts(const std::vector<StageLayout>& stages) {
  std::vector<int> counts;
  for (const StageLayout& stage : stages) {
    counts.push_back(static_cast<int>(stage.layers.size()));
  }
  return counts;
}

std::string layout_refusal(const std::string& text, const ModelConfig& model) {
  return refusal(ExitCode::usage, [&] { return parse_layout(text, model); });
}

// The example of Megatron-LM's documentation: 16 ranks, two stages each.
TEST(ParseLayout, ReadsMegatronsExampleForDeepSeekV3) {
  const std::vector<StageLayout> stages = parse_layout("Et*3|(tt|)*29,m|L", deepseek_v3());
  ASSERT_EQ(stages.size(), 32U);
  EXPECT_EQ(stages[0], (StageLayout{.embedding = true, .layers = {0, 1, 2}}));
  EXPECT_EQ(stages[1], (StageLayout{.layers = {3, 4}}));
  EXPECT_EQ(stages[29], (StageLayout{.layers = {59, 60}}));
  EXPECT_EQ(stages[30], (StageLayout{.mtp_layers = 1}));
  EXPECT_EQ(stages[31], (StageLayout{.head = true}));
}

TEST(ParseLayout, RepeatsBracketsInBrackets) {
  EXPECT_EQ(parse_layout("E(t(tt|)*2)*2 L", model_of(10)),
            parse_layout("Ettt|tt|ttt|tt|L", model_of(10)));
}

TEST(ParseLayout, RefusesWhatIsNoLayoutAndSaysWhere) {
  const ModelConfig model = model_of(2);
  EXPECT_THAT(layout_refusal("Ettx", model), HasSubstr("at character 4 of \"Ettx\", found 'x'"));
  EXPECT_THAT(layout_refusal("E(tt|L", model), HasSubstr("')' at character 7"));
  EXPECT_THAT(layout_refusal("Ett)L", model), HasSubstr("closing bracket"));
  EXPECT_THAT(layout_refusal("Et*|L", model), HasSubstr("repetitions from 1 at character 4"));
  EXPECT_THAT(layout_refusal("Et*0L", model), HasSubstr("repetitions from 1"));
  EXPECT_THAT(layout_refusal("E(((((((((t)))))))))L", model), HasSubstr("brackets"));
  EXPECT_THAT(layout_refusal("E((t*99999)*99999)*99999L", model), HasSubstr("100000 symbols"));
  EXPECT_THAT(layout_refusal("Et*99999999999999999999L", model), HasSubstr("100000 symbols"));
}

TEST(ParseLayout, RefusesAnotherModelsLayoutAndSaysWhere) {
  const ModelConfig model = model_of(2, 1);
  EXPECT_EQ(layout_refusal("Et|mL", model),
            "parallel.layout: expected 2 t, one for each layer of the model, before the L at "
            "character 5 of \"Et|mL\", found 1; add 1");
  EXPECT_THAT(
      layout_refusal("Ett|L", model),
      HasSubstr("1 m, one for each prediction module of the model, before the L at character 5 "
                "of \"Ett|L\", found 0; add 1"));
  EXPECT_EQ(layout_refusal("E(t|)*4 mL", model),
            "parallel.layout: expected no more than 2 t, one for each layer of the model, at "
            "character 3 of \"E(t|)*4 mL\", found the first of 2 too many; write 2 in all");
  EXPECT_EQ(layout_refusal("Em|ttL", model),
            "parallel.layout: expected no layer (t) after a prediction module (m) at character 4 "
            "of \"Em|ttL\", found one; put it before the m at character 2");
}

TEST(ParseLayout, RefusesEndsAndStagesOutOfPlaceAndSaysWhere) {
  const ModelConfig model = model_of(2, 1);
  EXPECT_EQ(layout_refusal("| tt|mL", model),
            "parallel.layout: expected E, the embedding, first at character 3 of \"| tt|mL\", "
            "found 't'; begin the first stage with it");
  EXPECT_THAT(layout_refusal("", model), HasSubstr("first at character 1 of \"\", found the end"));
  EXPECT_THAT(layout_refusal("Ett|EmL", model), HasSubstr("no second E at character 5"));
  EXPECT_THAT(layout_refusal("EttLm", model),
              HasSubstr("nothing after L, the output head at character 5 of \"EttLm\", found 'm'"));
  EXPECT_THAT(layout_refusal("EttmL*2", model), HasSubstr("nothing after L"));
  EXPECT_THAT(layout_refusal("Ett|m|", model),
              HasSubstr("L, the output head, at character 7 of \"Ett|m|\", found the end"));
  EXPECT_THAT(layout_refusal("Ett||mL", model),
              HasSubstr("something in stage 1 before it ends at character 5"));
  EXPECT_THAT(layout_refusal("Ett|mL|", model),
              HasSubstr("something in stage 2 before it ends at character 8"));
}

// 10 over 4 stages: the two in the middle get one more; 11: the first as well.
TEST(SplitEvenly, SparesTheFirstAndTheLastStage) {
  EXPECT_THAT(layer_counts(split_evenly(model_of(8), 4)), ElementsAre(2, 2, 2, 2));
  EXPECT_THAT(layer_counts(split_evenly(model_of(10), 4)), ElementsAre(2, 3, 3, 2));
  EXPECT_THAT(layer_counts(split_evenly(model_of(11), 4)), ElementsAre(3, 3, 3, 2));
  EXPECT_THAT(layer_counts(split_evenly(model_of(3), 2)), ElementsAre(2, 1));
  EXPECT_THAT(layer_counts(split_evenly(model_of(3), 1)), ElementsAre(3));
}

TEST(SplitEvenly, PutsEmbeddingFirstAndModulesAndHeadLast) {
  const std::vector<StageLayout> stages = split_evenly(model_of(2, 1), 2);
  EXPECT_EQ(stages[0], (StageLayout{.embedding = true, .layers = {0}}));
  EXPECT_EQ(stages[1], (StageLayout{.layers = {1}, .mtp_layers = 1, .head = true}));
}

TEST(SplitEvenly, RefusesFewerLayersThanStages) {
  EXPECT_THAT(refusal(ExitCode::usage, [] { return split_evenly(model_of(3), 4); }),
              HasSubstr("3 layers do not go round 4 stages"));
}

TEST(LayoutOf, TakesNumbersOrATextButNotBoth) {
  ParallelConfig parallel;
  parallel.layers_per_stage = {0, 3, 1};
  EXPECT_THAT(layer_counts(layout_of(model_of(4), parallel, 3)), ElementsAre(0, 3, 1));
  parallel.layout = "E|ttt|tL";
  EXPECT_THAT(refusal(ExitCode::usage, [&] { return layout_of(model_of(4), parallel, 3); }),
              HasSubstr("parallel.layout: expected none beside parallel.layers_per_stage"));
  parallel.layers_per_stage.clear();
  EXPECT_THAT(layer_counts(layout_of(model_of(4), parallel, 3)), ElementsAre(0, 3, 1));
  parallel.layout.clear();
  EXPECT_THAT(layer_counts(layout_of(model_of(4), parallel, 2)), ElementsAre(2, 2));
}

TEST(LayoutOf, RefusesNumbersThatAreNoLayout) {
  const auto refused = [](std::vector<double> numbers, int stages) {
    const ParallelConfig parallel{.layers_per_stage = std::move(numbers)};
    return refusal(ExitCode::usage, [&] { return layout_of(model_of(4), parallel, stages); });
  };
  EXPECT_THAT(refused({2, 2}, 3), HasSubstr("expected 3 stages, which the schedule has, found 2"));
  EXPECT_THAT(refused({2, 1}, 2), HasSubstr("add up to the model's 4 layers, found a sum of 3"));
  EXPECT_THAT(refused({1.5, 2.5}, 2), HasSubstr("whole numbers from 0 to 4, found 1.5"));
  EXPECT_THAT(refused({-1, 5}, 2), HasSubstr("found -1"));
  EXPECT_THAT(refused({2, 0, 2}, 3), HasSubstr("found none in one of them"));
}

}  // namespace
}  // namespace dualpipe
