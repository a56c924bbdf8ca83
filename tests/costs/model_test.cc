#include "costs/model.h"

#include <functional>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/error.h"
#include "tests/support/published_models.h"
#include "tests/support/refusal.h"

namespace dualpipe {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

std::string refusal_after(ModelConfig model, const std::function<void(ModelConfig&)>& change) {
  change(model);
  return refusal(ExitCode::usage, [&] { return complete_model(model); });
}

TEST(CompleteModel, WorksOutKeyHeadsAndHeadSize) {
  const ModelConfig model =
      complete_model({.layers = 1, .hidden = 64, .heads = 4, .ffn = 256, .vocabulary = 100});
  EXPECT_EQ(model.kv_heads, 4);
  EXPECT_EQ(model.head_size, 16);
}

TEST(CompleteModel, RefusesSizesThatAreMissing) {
  EXPECT_THAT(refusal_after({}, [](ModelConfig&) {}),
              StartsWith("model.layers: expected a whole number from 1 to 10000, found 0; "));
  EXPECT_THAT(refusal_after(llama_3_8b(), [](ModelConfig& model) { model.ffn = 0; }),
              StartsWith("model.ffn: expected a whole number from 1"));
  EXPECT_THAT(refusal_after(deepseek_v3(), [](ModelConfig& model) { model.kv_lora = 0; }),
              StartsWith("model.kv_lora: "));
  EXPECT_THAT(refusal_after(mixtral_8x7b(), [](ModelConfig& model) { model.expert_ffn = 0; }),
              StartsWith("model.expert_ffn: "));
}

TEST(CompleteModel, RefusesSizesOutsideTheirRange) {
  EXPECT_THAT(refusal_after(llama_3_8b(), [](ModelConfig& model) { model.hidden = -4096; }),
              AllOf(StartsWith("model.hidden: "), HasSubstr("found -4096")));
  EXPECT_THAT(refusal_after(llama_3_8b(), [](ModelConfig& model) { model.layers = 10'001; }),
              StartsWith("model.layers: "));
  EXPECT_THAT(
      refusal_after(mixtral_8x7b(), [](ModelConfig& model) { model.experts_per_token = 9; }),
      StartsWith("model.experts_per_token: expected a whole number from 1 to 8, found 9"));
  EXPECT_THAT(refusal_after(deepseek_v3(), [](ModelConfig& model) { model.dense_layers = 62; }),
              StartsWith("model.dense_layers: "));
}

TEST(CompleteModel, RefusesSizesAtOddsWithOneAnother) {
  EXPECT_THAT(refusal_after(llama_3_8b(), [](ModelConfig& model) { model.kv_heads = 5; }),
              StartsWith("model.kv_heads: expected a divisor of the 32 heads, found 5"));
  EXPECT_THAT(refusal_after(llama_3_8b(), [](ModelConfig& model) { model.kv_lora = 512; }),
              StartsWith("model.kv_lora: expected none where model.attention is \"gqa\""));
  EXPECT_THAT(refusal_after(llama_3_8b(), [](ModelConfig& model) { model.dense_layers = 1; }),
              StartsWith("model.dense_layers: expected none in a model without experts"));
  EXPECT_THAT(refusal_after(llama_3_8b(),
                            [](ModelConfig& model) {
                              model.head_size = 0;
                              model.hidden = 4097;
                            }),
              StartsWith("model.head_size: expected a size"));
}

TEST(CompleteModel, RefusesUnknownWordsWithTheNearest) {
  EXPECT_THAT(refusal_after(llama_3_8b(), [](ModelConfig& model) { model.attention = "mlaa"; }),
              HasSubstr("one of \"gqa\", \"mla\", found \"mlaa\" (did you mean 'mla'?)"));
  EXPECT_THAT(refusal_after(llama_3_8b(), [](ModelConfig& model) { model.mlp = "relu"; }),
              StartsWith("model.mlp: "));
}

TEST(ModelConfig, HasDenseLayersFirst) {
  const ModelConfig model = deepseek_v3();
  EXPECT_FALSE(model.is_moe(2));
  EXPECT_TRUE(model.is_moe(3));
  EXPECT_FALSE(llama_3_8b().is_moe(31));
}

}  // namespace
}  // namespace dualpipe
