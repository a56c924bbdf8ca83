// The models in configs/ against the sizes that tests/support has from papers and model cards.

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "cli/config.h"
#include "costs/model.h"
#include "tests/support/published_models.h"

namespace dualpipe {
namespace {

const std::string configs = SOURCE_DIR "/configs";

ModelConfig model_in(const std::string& path) {
  const std::vector<std::string> paths{path};
  return complete_model(load_config(paths, {}).model);
}

TEST(ModelPresets, HaveThePublishedSizes) {
  const std::map<std::string, ModelConfig> published{
      {"deepseek_v3", deepseek_v3()},   {"gpt_3_175b", gpt_3()},
      {"llama_3_8b", llama_3_8b()},     {"llama_3_70b", llama_3_70b()},
      {"mixtral_8x7b", mixtral_8x7b()}, {"qwen3_moe", qwen3_30b_a3b()}};
  int compared = 0;
  for (const auto& file : std::filesystem::directory_iterator(configs + "/models")) {
    const std::string name = file.path().stem().string();
    ASSERT_TRUE(published.contains(name)) << "no published sizes for " << file.path();
    EXPECT_EQ(model_in(file.path().string()), published.at(name)) << name;
    ++compared;
  }
  EXPECT_EQ(compared, 6);
}

TEST(ModelPresets, OfDeepSeekV3AreTheSameWithItsMachine) {
  EXPECT_EQ(model_in(configs + "/deepseek_v3_h800.toml"), deepseek_v3());
}

}  // namespace
}  // namespace dualpipe
