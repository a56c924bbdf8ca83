#include "costs/parallel.h"

#include <functional>
#include <limits>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/error.h"
#include "costs/model.h"
#include "tests/support/published_models.h"
#include "tests/support/refusal.h"

namespace dualpipe {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

std::string refusal_after(const ModelConfig& model,
                          const std::function<void(ParallelConfig&)>& change) {
  ParallelConfig parallel;
  change(parallel);
  return refusal(ExitCode::usage, [&] {
    require_parallel(parallel, model);
    return 0;
  });
}

// 16 ranks of 128 GPUs are the 2,048 of DeepSeek-V3; 64 of them share the experts of a layer.
TEST(ParallelConfig, CountsTheGpusOfDeepSeekV3) {
  const ParallelConfig parallel{.expert = 64, .data = 128};
  require_parallel(parallel, deepseek_v3());
  EXPECT_EQ(16 * parallel.gpus_per_rank(), 2048);
  EXPECT_EQ(parallel.expert_replicas(), 2);
  EXPECT_EQ(parallel.tokens(), 4096.0);
}

TEST(RecomputeOfLayers, TakesOneWordForAllOrOneForEach) {
  const auto of_three = [](const std::string& text) {
    return recompute_of_layers({.recompute = text}, 3);
  };
  constexpr Recompute none = Recompute::none;
  constexpr Recompute full = Recompute::full;
  EXPECT_THAT(of_three("full"), ElementsAre(full, full, full));
  EXPECT_THAT(of_three("full*2,none"), ElementsAre(full, full, none));
  EXPECT_THAT(of_three("none,selective,full"), ElementsAre(none, Recompute::selective, full));
}

TEST(RecomputeOfLayers, RefusesOtherWordsAndOtherNumbers) {
  for (const char* text :
       {"", "all", "full*2", "full*4", "none,none,none,none", "full*0,none*3", "full*-1", "full*",
        "full*2x,none", "none,,none", "none*3,", "full*99999999999999999999"}) {
    EXPECT_THAT(
        refusal(ExitCode::usage, [&] { return recompute_of_layers({.recompute = text}, 3); }),
        StartsWith("parallel.recompute: expected words for 3 layers"))
        << text;
  }
}

TEST(RequireParallel, RefusesWhatDoesNotDivide) {
  EXPECT_THAT(refusal_after(llama_3_8b(), [](ParallelConfig& parallel) { parallel.tensor = 3; }),
              StartsWith("parallel.tensor: expected a divisor of model.heads, 32, found 3"));
  EXPECT_THAT(refusal_after(llama_3_8b(), [](ParallelConfig& parallel) { parallel.context = 3; }),
              StartsWith("parallel.context: expected a divisor of parallel.sequence"));
  EXPECT_THAT(refusal_after(mixtral_8x7b(), [](ParallelConfig& parallel) { parallel.expert = 2; }),
              StartsWith("parallel.expert: expected a divisor of parallel.context"));
  EXPECT_THAT(refusal_after(mixtral_8x7b(),
                            [](ParallelConfig& parallel) {
                              parallel.expert = 16;
                              parallel.data = 16;
                            }),
              StartsWith("parallel.expert: expected a divisor of model.experts, 8"));
  EXPECT_THAT(refusal_after(llama_3_8b(),
                            [](ParallelConfig& parallel) {
                              parallel.expert = 2;
                              parallel.data = 2;
                            }),
              StartsWith("parallel.expert: expected 1 in a model without experts"));
}

TEST(RequireParallel, RefusesNumbersOutsideTheirRangeAndUnknownWords) {
  EXPECT_THAT(refusal_after(llama_3_8b(), [](ParallelConfig& parallel) { parallel.data = 0; }),
              StartsWith("parallel.data: "));
  EXPECT_THAT(refusal_after(llama_3_8b(), [](ParallelConfig& parallel) { parallel.sequence = -1; }),
              StartsWith("parallel.sequence: "));
  EXPECT_THAT(refusal_after(llama_3_8b(),
                            [](ParallelConfig& parallel) {
                              parallel.weight_bytes = std::numeric_limits<double>::quiet_NaN();
                            }),
              HasSubstr("parallel.weight_bytes: expected a number from 0 to 1000, found nan"));
  EXPECT_THAT(refusal_after(llama_3_8b(),
                            [](ParallelConfig& parallel) { parallel.expert_imbalance = 0.9; }),
              StartsWith("parallel.expert_imbalance: "));
  EXPECT_THAT(refusal_after(llama_3_8b(),
                            [](ParallelConfig& parallel) { parallel.optimizer_sharding = "zero"; }),
              HasSubstr("(did you mean 'zero1'?)"));
  EXPECT_THAT(refusal_after(llama_3_8b(),
                            [](ParallelConfig& parallel) { parallel.activation_type = "fp16"; }),
              StartsWith("parallel.activation_type: "));
  EXPECT_THAT(
      refusal_after(llama_3_8b(), [](ParallelConfig& parallel) { parallel.recompute = "some"; }),
      StartsWith("parallel.recompute: "));
}

}  // namespace
}  // namespace dualpipe
