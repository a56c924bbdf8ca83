#include "costs/cost_sources.h"

#include <algorithm>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/derive.h"
#include "costs/layer_times.h"
#include "tests/support/training_setups.h"

namespace dualpipe {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::vector<CostSource> deepseek_sources(const TrainingSetup& setup = deepseek_v3_on_h800()) {
  return cost_sources(derive_costs(setup, {.ranks = 16, .stages = 16, .directions = 2}));
}

CostSource find(const std::vector<CostSource>& sources, int stage, const std::string& quantity) {
  const auto found = std::ranges::find_if(sources, [&](const CostSource& source) {
    return source.stage == stage && source.quantity == quantity;
  });
  return found == sources.end() ? CostSource{} : *found;
}

TEST(CostSources, SayWhatWentIntoANumber) {
  const std::vector<CostSource> sources = deepseek_sources();
  EXPECT_THAT(find(sources, 1, "forward").source,
              AllOf(HasSubstr("4 MoE layers"), HasSubstr("fp8 1978.9 TFLOPS"),
                    HasSubstr("efficiency_forward 0.37 (one number)"),
                    HasSubstr("0.848 of the SMs"), HasSubstr("35.599 ms of it communication")));
  EXPECT_THAT(find(sources, 0, "forward").source,
              HasSubstr("3 dense layers, 1 MoE layer, embedding"));
  EXPECT_THAT(find(sources, 15, "forward").source,
              HasSubstr("1 MoE layer, 1 prediction module, output head: "));
  EXPECT_THAT(find(sources, 15, "backward_weight").source,
              HasSubstr("output head at bf16 989.4 TFLOPS x efficiency_head 0.7 (one number)"));
  const CostSource dispatch = find(sources, CostSource::all_stages, "dispatch");
  EXPECT_NEAR(dispatch.value, 121.1, 0.05);
  EXPECT_EQ(dispatch.unit, "MB");
  EXPECT_THAT(dispatch.source, HasSubstr("7168 values x 1.03125 bytes x 4 nodes"));
  EXPECT_NEAR(find(sources, CostSource::all_stages, "parameters").value, 671.03, 0.01);
}

TEST(CostSources, NameTheEfficiencyThatWasUsed) {
  TrainingSetup setup = deepseek_v3_on_h800();
  setup.hardware.efficiency_forward = {};
  setup.hardware.efficiency_weight = {1e9, 0.1, 1e12, 0.5};
  const std::vector<CostSource> sources = deepseek_sources(setup);
  EXPECT_THAT(find(sources, 1, "forward").source, HasSubstr("efficiency 0.5 (one number)"));
  EXPECT_THAT(find(sources, 1, "backward_weight").source,
              HasSubstr("efficiency_weight (a curve over FLOP)"));
}

TEST(CostSources, HaveTheSameQuantitiesForEveryStage) {
  const std::vector<CostSource> sources = deepseek_sources();
  const auto quantities_of = [&](int stage) {
    std::vector<std::string> quantities;
    for (const CostSource& source : sources) {
      if (source.stage == stage) {
        quantities.push_back(source.quantity);
      }
    }
    return quantities;
  };
  for (int stage = 1; stage < 16; ++stage) {
    EXPECT_EQ(quantities_of(stage), quantities_of(0));
  }
  EXPECT_THAT(quantities_of(0), testing::IsSupersetOf({"forward", "overlapped", "logits_bytes"}));
}

// 4 (121.1 + 234.9) MB at 40 GB/s are the 35.6 ms of the first test. At 50 times less bandwidth
// there is far more to hide than to hide it behind.
TEST(CostSources, SayHowMuchCommunicationIsHidden) {
  EXPECT_THAT(find(deepseek_sources(), 5, "overlapped").source,
              testing::ContainsRegex("(9[0-9]|100) % of it hidden"));
  TrainingSetup setup = deepseek_v3_on_h800();
  setup.hardware.network_gb_per_s = 1.0;
  EXPECT_THAT(find(deepseek_sources(setup), 5, "overlapped").source,
              testing::ContainsRegex(" [0-9] % of it hidden"));
}

}  // namespace
}  // namespace dualpipe
