#include "cli/config.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/config_keys.h"
#include "cli/subject.h"
#include "costs/cost_model.h"
#include "costs/error.h"
#include "scheduler/file.h"
#include "scheduler/generate.h"
#include "scheduler/memory.h"
#include "scheduler/pipeline.h"

namespace dualpipe {
namespace {

using testing::ContainsRegex;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

const std::string configs = SOURCE_DIR "/configs";

Config parse(std::string_view text) {
  return parse_config(text, "bench.toml", Config{});
}

Config load(const std::vector<std::string>& sets) {
  return load_config({}, sets);
}

MemoryLimit bytes(std::int64_t amount) {
  return {.amount = amount, .unit = MemoryLimit::Unit::bytes};
}

// The message with which `attempt` fails; "" if it does not.
template <typename Attempt>
std::string refusal(const Attempt& attempt) {
  try {
    static_cast<void>(attempt());
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::usage) << error.what();
    return error.what();
  }
  return "";
}

std::string refusal_of_text(std::string_view text) {
  return refusal([&] { return parse(text); });
}

std::string refusal_of_set(const std::string& set) {
  return refusal([&] { return load({set}); });
}

TEST(Config, WithoutFileAndSetsIsTheDefaultsOfTheDesign) {
  const Config config = load({});
  EXPECT_EQ(config.pipeline.schedule, "dualpipe");
  EXPECT_EQ(config.pipeline.ranks, 8);
  EXPECT_EQ(config.pipeline.microbatches, 20);
  EXPECT_EQ(config.pipeline.chunks, 1);
  EXPECT_EQ(config.pipeline.memory_limit, std::nullopt);
  EXPECT_FALSE(config.pipeline.forward_only);
  EXPECT_EQ(config.pipeline.effort, 30'000'000);
  EXPECT_EQ(config.costs, CostConfig{});
}

TEST(Config, ReadsEveryKeyOfAFile) {
  const Config config = parse(R"(
[pipeline]
schedule = "1f1b"
ranks = 4
microbatches = 9
chunks = 2
memory_limit = "40GiB"
forward_only = true
effort = 12345
[costs]
unit = "us"
per = "stage"
forward = 1.5
backward_input = [2, 2.5]
backward_weight = 3
overlapped = 6.25
p2p = 0.125
activation_bytes = 4096
weight_operand_bytes = 1e6
)");
  EXPECT_EQ(config.pipeline, (PipelineConfig{"1f1b", 4, 9, 2, bytes(40LL << 30), true, 12345}));
  EXPECT_EQ(config.costs.unit, "us");
  EXPECT_EQ(config.costs.per, "stage");
  EXPECT_THAT(config.costs.forward.values, ElementsAre(1.5));
  EXPECT_THAT(config.costs.backward_input.values, ElementsAre(2.0, 2.5));
  EXPECT_THAT(config.costs.backward_weight.values, ElementsAre(3.0));
  EXPECT_THAT(config.costs.overlapped.value_or(0.0).values, ElementsAre(6.25));
  EXPECT_EQ(config.costs.p2p, 0.125);
  EXPECT_THAT(config.costs.activation_bytes.values, ElementsAre(4096.0));
  EXPECT_THAT(config.costs.weight_operand_bytes.values, ElementsAre(1e6));
}

TEST(Config, CostsRememberTheLineTheyCameFrom) {
  EXPECT_EQ(parse("[costs]\nforward = 2.0").costs.forward.where, "bench.toml:2:11");
  EXPECT_EQ(load({"costs.forward=2"}).costs.forward.where, "--set costs.forward=2");
  EXPECT_EQ(parse("[costs]\np2p = 2.0").costs.p2p.value_or(0.0).where, "bench.toml:2:7");
  EXPECT_EQ(load({"costs.gradient_norm=2"}).costs.gradient_norm.value_or(0.0).where,
            "--set costs.gradient_norm=2");
}

TEST(Config, KeepsWhatAFileLeavesOut) {
  Config base;
  base.pipeline.ranks = 3;
  const Config config = parse_config("pipeline.chunks = 5", "bench.toml", std::move(base));
  EXPECT_EQ(config.pipeline, (PipelineConfig{"dualpipe", 3, 20, 5}));
}

TEST(Config, ASetOverridesTheFileAndALaterSetAnEarlierOne) {
  const std::vector<std::string> sets{"pipeline.ranks=6", "pipeline.ranks=10"};
  const Config config = load_config(std::vector{configs + "/zero_bubble_8x24.toml"}, sets);
  EXPECT_EQ(config.pipeline, (PipelineConfig{"1f1b", 10, 24, 1}));
}

// The first says nothing of the last key, the second nothing of the transfer.
TEST(Config, ALaterFileWinsWhereItSaysSomething) {
  const Config config = load_config(
      std::vector{configs + "/zero_bubble_8x24.toml", configs + "/dualpipe_readme.toml"}, {});
  EXPECT_EQ(config.pipeline.schedule, "dualpipe");
  EXPECT_EQ(config.pipeline.microbatches, 20);
  EXPECT_EQ(config.costs.p2p, 0.601);
}

TEST(Config, ASetTakesTextWithAndWithoutQuotes) {
  for (const std::string set :
       {"pipeline.schedule=1f1b", "pipeline.schedule=\"1f1b\"", "pipeline.schedule='1f1b'"}) {
    EXPECT_EQ(load({set}).pipeline.schedule, "1f1b") << set;
  }
}

TEST(Config, ASetTakesALineOfTextThatLooksLikeTomlOnlyAsText) {
  EXPECT_EQ(load({"pipeline.schedule=a\nb = 1"}).pipeline.schedule, "a\nb = 1");
  EXPECT_EQ(load({"pipeline.schedule=1\nb = 1"}).pipeline.schedule, "1\nb = 1");
  EXPECT_EQ(load({"pipeline.schedule=a=b"}).pipeline.schedule, "a=b");
}

TEST(Config, ASetTakesAPathOfManyDots) {
  const std::string path = "../../../../../../bench/v1.0.csv";
  EXPECT_EQ(load({"pipeline.schedule=" + path}).pipeline.schedule, path);
}

TEST(Config, AMemoryLimitIsANumberOfActivationsOrATextWithAUnit) {
  const auto limit = [](const std::string& value) {
    return load({"pipeline.memory_limit=" + value}).pipeline.memory_limit;
  };
  EXPECT_EQ(limit("8"), MemoryLimit{.amount = 8});
  EXPECT_EQ(limit("\"8\""), MemoryLimit{.amount = 8});
  EXPECT_EQ(limit("0"), MemoryLimit{.amount = 0});
  EXPECT_EQ(limit("512MiB"), bytes(512LL << 20));
  EXPECT_EQ(limit("\"2kB\""), bytes(2000));
  EXPECT_EQ(parse("pipeline.memory_limit = \"1.5KiB\"").pipeline.memory_limit, bytes(1536));
}

// The example after "write for example" is what the reader will try next.
TEST(Config, EveryRefusalSuggestsAValueThatIsAccepted) {
  for (const ConfigKey& key : config_keys()) {
    const std::string message = refusal_of_set(key.dotted() + "={}");
    const std::size_t place = message.find("write for example --set ");
    ASSERT_NE(place, std::string::npos) << key.dotted() << ": " << message;
    const std::string set = message.substr(place + std::string("write for example --set ").size());
    EXPECT_EQ(refusal_of_set(set), "") << key.dotted();
  }
}

TEST(Config, AMemoryLimitOverridesOneWithAnotherUnit) {
  EXPECT_EQ(load({"pipeline.memory_limit=8", "pipeline.memory_limit=1GB"}).pipeline.memory_limit,
            bytes(1'000'000'000));
}

TEST(Config, ASetTakesAList) {
  EXPECT_THAT(load({"costs.forward=[1, 2.5]"}).costs.forward.values, ElementsAre(1.0, 2.5));
}

TEST(Config, AnErrorSaysWhereWhatAndWhatToDo) {
  EXPECT_EQ(
      refusal_of_text("[costs]\nforward = \"fast\""),
      "bench.toml:2:11: costs.forward: expected a number of 0 or more, or a list of them with "
      "one per stage; found the text \"fast\"; write for example forward = 1.0");
  EXPECT_EQ(refusal_of_text("[pipeline]\nranks = 0"),
            "bench.toml:2:9: pipeline.ranks: expected a whole number from 1 to 100000; found 0; "
            "write for example ranks = 8");
  EXPECT_EQ(refusal_of_text("[costs]\nunit = \"sec\""),
            "bench.toml:2:8: costs.unit: expected one of \"ns\", \"us\", \"ms\", \"s\"; found the "
            "text \"sec\" (did you mean 's'?); write for example unit = \"ms\"");
  EXPECT_EQ(refusal_of_text("[pipeline]\n\n[cost]\nforward = 1"),
            "bench.toml:3:2: unknown table \"cost\" (did you mean 'costs'?); the tables are "
            "pipeline, costs, model, parallel, hardware, network, jitter");
  EXPECT_EQ(refusal_of_text("costs = 3"),
            "bench.toml:1:9: costs: expected a table; found 3; write [costs] with its keys below");
  EXPECT_EQ(
      refusal_of_set("costs.unit=min"),
      "--set costs.unit=min: costs.unit: expected one of \"ns\", \"us\", \"ms\", \"s\"; found "
      "the text \"min\" (did you mean 'ms'?); write for example --set costs.unit=ms");
  EXPECT_EQ(refusal_of_set("pipeline.ranks"),
            "--set pipeline.ranks: expected key=value; found no '='; write for example --set "
            "pipeline.ranks=8");
}

TEST(Config, AnUnknownKeyIsAnErrorThatNamesTheNearest) {
  EXPECT_THAT(refusal_of_text("[costs]\nforwrd = 1"),
              HasSubstr("bench.toml:2:1: unknown key \"costs.forwrd\" (did you mean "
                        "'costs.forward'?); the keys of [costs] are unit, per, "));
  EXPECT_THAT(refusal_of_set("costs.forwrd=2"),
              HasSubstr("--set costs.forwrd=2: unknown key \"costs.forwrd\" (did you mean "
                        "'costs.forward'?)"));
}

TEST(Config, AKeyInTheWrongTableIsToldTheRightOne) {
  EXPECT_THAT(refusal_of_set("ranks=2"), HasSubstr("(did you mean 'pipeline.ranks'?)"));
  EXPECT_THAT(refusal_of_text("ranks = 2"), HasSubstr("1:1: unknown key \"ranks\" (did you mean "
                                                      "'pipeline.ranks'?)"));
  EXPECT_THAT(refusal_of_text("[costs]\nranks = 2"), HasSubstr("(did you mean 'pipeline.ranks'?)"));
}

TEST(Config, RefusesEveryOtherTypeOfValue) {
  const std::vector<std::pair<std::string, std::string>> rows{
      {"pipeline.ranks = 8.0", "found 8.0;"},
      {"pipeline.ranks = \"8\"", "found the text \"8\";"},
      {"pipeline.ranks = 99999999999", "found 99999999999;"},
      {"pipeline.ranks = 100001", "from 1 to 100000; found 100001;"},
      {"pipeline.microbatches = 10000001", "from 1 to 10000000; found 10000001;"},
      {"pipeline.chunks = 1025", "from 1 to 1024; found 1025;"},
      {"pipeline.chunks = -1", "found -1;"},
      {"pipeline.memory_limit = -1",
       "expected a whole number of stage activations, or of bytes with their unit, such as "
       "\"40GiB\"; found -1;"},
      {"pipeline.memory_limit = 8.0", "found 8.0;"},
      {"pipeline.memory_limit = \"8 GiB\"", "found the text \"8 GiB\";"},
      {"pipeline.memory_limit = \"\"", "found the text \"\";"},
      {"pipeline.memory_limit = true", "found true;"},
      {"pipeline.memory_limit = 9223372036854775807", "found 9223372036854775807;"},
      {"pipeline.forward_only = 1", "expected true or false; found 1;"},
      {"pipeline.forward_only = \"yes\"", "found the text \"yes\";"},
      {"pipeline.effort = -1", "from 0 to 2000000000; found -1;"},
      {"pipeline.effort = 2000000001", "from 0 to 2000000000; found 2000000001;"},
      {"pipeline.schedule = \"\"", "expected a text that is not empty; found the text \"\";"},
      {"pipeline.schedule = 1", "found 1;"},
      {"costs.per = \"ranks\"", "did you mean 'rank'?"},
      {"costs.p2p = [1.0]", "found a list of 1;"},
      {"costs.logits_bytes = [1, 2]",
       "1:22: costs.logits_bytes: expected a number of 0 or more; found a list of 2;"},
      {"costs.p2p = -0.5", "expected a number of 0 or more; found -0.5;"},
      {"costs.p2p = inf", "found inf;"},
      {"costs.forward = nan", "found nan;"},
      {"costs.ranks_per_node = 100001", "1:24: costs.ranks_per_node: "},
      {"costs.forward = true", "found true;"},
      {"costs.forward = 2024-01-01", "found a date or time;"},
      {"costs.forward = {a = 1}", "found a table;"},
      {"costs.forward = []", "found a list of 0;"},
      {"costs.forward = [1, \"x\"]", "bench.toml:1:21: costs.forward: "},
      {"costs.forward = [1, [2]]", "found a list of 1;"},
      {"costs.overlapped = false", "found false;"},
      {"[[costs]]", "costs: expected a table; found a list of 1;"},
  };
  for (const auto& [text, message] : rows) {
    EXPECT_THAT(refusal_of_text(text), HasSubstr(message)) << text;
  }
}

// The ranges are those of the models' and machines' own checks, which know no place.
TEST(Config, ANumberBeyondAnyModelOrMachineIsRefusedWithItsPlace) {
  const std::vector<std::pair<std::string, std::string>> rows{
      {"[model]\nlayers = 10001", "2:10: model.layers: expected a whole number from 0 to 10000;"},
      {"[model]\nhidden = 1000001", "2:10: model.hidden: "},
      {"[model]\nheads = 10001", "2:9: model.heads: "},
      {"[model]\nexperts = 100001", "2:11: model.experts: "},
      {"[model]\nshared_experts = 1001", "2:18: model.shared_experts: "},
      {"[parallel]\ndata = 1001", "2:8: parallel.data: expected a whole number from 1 to 1000;"},
      {"[parallel]\ncontext = 1001", "2:11: parallel.context: "},
      {"[parallel]\ntensor = 100001", "2:10: parallel.tensor: "},
      {"[parallel]\nexpert_imbalance = 0.5",
       "2:20: parallel.expert_imbalance: expected a number from 1 to 1000; found 0.5; write for "
       "example expert_imbalance = 1.2"},
      {"[parallel]\nweight_bytes = 1001.0", "2:16: parallel.weight_bytes: "},
      {"[hardware]\ncommunication_efficiency = 1.5", "2:28: hardware.communication_efficiency: "},
      {"[hardware]\nmemory_gb = 2e9", "2:13: hardware.memory_gb: "},
      {"[hardware]\nlaunch_us = 2e6", "2:13: hardware.launch_us: "},
      {"[hardware]\ngpus_per_node = 100001", "2:17: hardware.gpus_per_node: "},
  };
  for (const auto& [text, message] : rows) {
    EXPECT_THAT(refusal_of_text(text), StartsWith("bench.toml:" + message)) << text;
  }
}

TEST(Config, TheLargestShapeIsAccepted) {
  const Config config = load({"pipeline.ranks=100000", "pipeline.microbatches=10000000",
                              "pipeline.chunks=1024", "pipeline.effort=2000000000",
                              "pipeline.memory_limit=9007199254740991B", "costs.p2p=0"});
  EXPECT_EQ(config.pipeline, (PipelineConfig{"dualpipe", 100000, 10000000, 1024,
                                             bytes(9'007'199'254'740'991), false, 2'000'000'000}));
}

TEST(Config, TextThatIsNotTomlIsRefusedWithItsPlace) {
  EXPECT_THAT(refusal_of_text("[pipeline]\nschedule = 1f1b"),
              HasSubstr("bench.toml:2:13: this is not TOML: "));
  EXPECT_THAT(refusal_of_text("[pipeline]\nschedule = 1f1b"), HasSubstr("texts in double quotes"));
  EXPECT_THAT(refusal_of_text("[pipeline]\nranks = 1\nranks = 2"), HasSubstr("bench.toml:3:"));
  EXPECT_THAT(refusal_of_set("pipeline.schedule=\xff"), HasSubstr("expected text in UTF-8"));
}

TEST(Config, AKeyOfAHundredThousandPartsIsRefusedInsteadOfExhaustingTheStack) {
  std::string deep = "a";
  for (int part = 1; part < 100'000; ++part) {
    deep += ".a";
  }
  const std::string message = "found one of more than 8;";
  for (const std::string& text : std::vector<std::string>{
           "\n" + deep + " = 1", "\n[" + deep + "]", "\nb = {" + deep + " = 1}",
           "\nb = {'c,' = '#', " + deep + " = 1}", "\n\"#\"." + deep + " = 1",
           "\nb = ['''x'''', {" + deep + " = 1}]", "\nb = [\"\\\"\", {" + deep + " = 1}]"}) {
    EXPECT_THAT(refusal_of_text(text), HasSubstr(message)) << text.substr(0, 40);
  }
  EXPECT_THAT(refusal_of_text("p = 1\n" + deep),
              HasSubstr("bench.toml:2:16: expected keys of two"));
  EXPECT_THAT(refusal_of_set("costs.forward={" + deep + " = 1}"), HasSubstr("found the text \"{a"));
}

TEST(Config, DotsInTextsCommentsAndListsAreNoKeys) {
  const std::string dots(100, '.');
  EXPECT_EQ(
      parse("# " + dots + "\npipeline.schedule = \"" + dots + "\" # " + dots).pipeline.schedule,
      dots);
  std::string list = "1.5";
  for (int element = 1; element < 1000; ++element) {
    list += ", 1.5";
  }
  EXPECT_EQ(parse("costs.forward = [" + list + "]").costs.forward.values.size(), 1000U);
}

TEST(Config, AFileThatCannotBeReadIsAnInputOutputError) {
  try {
    static_cast<void>(load_config(std::vector{configs + "/none.toml"}, {}));
    FAIL() << "loaded a file that does not exist";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::input_output);
    EXPECT_THAT(error.what(), HasSubstr("none.toml"));
  }
}

TEST(Config, TheDefaultFileIsTheDumpOfTheDefaults) {
  EXPECT_EQ(dump_config(Config{}), read_file(configs + "/default.toml"));
}

TEST(Config, ADumpCommentsOutWhatIsLeftOut) {
  EXPECT_THAT(dump_config(Config{}), HasSubstr("\n# overlapped = "));
  EXPECT_THAT(dump_config(Config{}), HasSubstr("\n# memory_limit = "));
  EXPECT_THAT(dump_config(load({"pipeline.memory_limit=8"})), HasSubstr("\nmemory_limit = 8 "));
  EXPECT_THAT(dump_config(load({"pipeline.memory_limit=1KiB"})),
              HasSubstr("\nmemory_limit = \"1024B\" "));
  EXPECT_THAT(dump_config(load({"costs.overlapped=[4, 5e-9]"})),
              HasSubstr("\noverlapped = [4.0, 5e-09] "));
}

TEST(Config, ADumpKeepsTextsThatNeedEscapes) {
  Config config;
  config.pipeline.schedule = "a\"b\\c\n\t\x7f\xc3\xa9";
  EXPECT_THAT(dump_config(config),
              HasSubstr("schedule = \"a\\\"b\\\\c\\u000a\\u0009\\u007f\xc3\xa9\""));
  EXPECT_EQ(parse(dump_config(config)).pipeline, config.pipeline);
}

std::vector<std::string> files_in(const std::string& folder) {
  std::vector<std::string> paths;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.is_regular_file()) {
      paths.push_back(entry.path().string());
    }
  }
  std::ranges::sort(paths);
  return paths;
}

TEST(Config, EveryFileInConfigsLoadsAndResolves) {
  const std::vector<std::string> paths = files_in(configs);
  EXPECT_GE(paths.size(), 5U);
  for (const std::string& path : paths) {
    SCOPED_TRACE(path);
    const Config config = load_config(std::vector{path}, {});
    const Placement placement = find_family(config.pipeline.schedule).placement(shape_of(config));
    EXPECT_EQ(costs_on(placement, config).stages.size(),
              static_cast<std::size_t>(placement.stages()));
  }
}

// Four stages of 64 GPUs, which every model's sizes divide into.
TEST(Config, EveryModelHasCostsOnEveryMachine) {
  const std::vector<std::string> models = files_in(configs + "/models");
  const std::vector<std::string> machines = files_in(configs + "/hardware");
  EXPECT_GE(models.size(), 6U);
  EXPECT_GE(machines.size(), 5U);
  for (const std::string& model : models) {
    for (const std::string& machine : machines) {
      SCOPED_TRACE(testing::Message() << model << " on " << machine);
      const Config config =
          load_config(std::vector{model, machine},
                      std::vector<std::string>{"parallel.tensor=8", "parallel.data=8"});
      for (const StageCosts& stage : costs_on(linear_placement(4), config).stages) {
        EXPECT_GT(stage.forward, Time(0));
        EXPECT_GT(stage.backward_input, stage.backward_weight);
        EXPECT_GT(stage.bytes.weights, 0);
        EXPECT_GT(stage.bytes.activation, stage.bytes.weight_operands / 2);
      }
    }
  }
}

TEST(Config, AHuggingFaceFileSetsTheModel) {
  const std::string path = testing::TempDir() + "/config.json";
  std::ofstream(path) << R"({"model_type":"llama","hidden_size":4096,"intermediate_size":14336,
      "num_attention_heads":32,"num_key_value_heads":8,"num_hidden_layers":32,
      "vocab_size":128256,"tie_word_embeddings":false})";
  const Config config = load_config(std::vector{path}, std::vector<std::string>{"model.name=mine"});
  EXPECT_EQ(config.model.layers, 32);
  EXPECT_EQ(config.model.kv_heads, 8);
  EXPECT_EQ(config.model.name, "mine");
}

// As some editors write UTF-8.
TEST(Config, AByteOrderMarkSaysNothing) {
  const std::string mark = "\xef\xbb\xbf";
  const std::string model = testing::TempDir() + "/marked.json";
  std::ofstream(model) << mark << R"({"model_type":"llama","hidden_size":4096,
      "intermediate_size":14336,"num_attention_heads":32,"num_hidden_layers":32,
      "vocab_size":128256})";
  const std::string table = testing::TempDir() + "/marked.toml";
  std::ofstream(table) << mark << "[pipeline]\nranks = 3\n";
  const Config config = load_config(std::vector{model, table}, {});
  EXPECT_EQ(config.model.layers, 32);
  EXPECT_EQ(config.pipeline.ranks, 3);
}

TEST(Config, ACostThatIsSetGoesBeforeTheDerivedOne) {
  const std::vector<std::string> paths{configs + "/models/llama_3_8b.toml",
                                       configs + "/hardware/h100.toml"};
  const Placement placement = linear_placement(4);
  const CostModel derived = costs_on(placement, load_config(paths, {}));
  const CostModel costs =
      costs_on(placement, load_config(paths, std::vector<std::string>{"costs.backward_weight=7"}));
  EXPECT_EQ(costs.stages[2].backward_weight, Time(7'000'000));
  EXPECT_EQ(costs.stages[2].forward, derived.stages[2].forward);
  EXPECT_EQ(costs.p2p, derived.p2p);
}

// What is dumped says the same, and leaves derived costs to be derived.
TEST(Config, ADumpOfAModelDerivesTheSameCosts) {
  const Config config = load_config(
      std::vector{configs + "/models/mixtral_8x7b.toml", configs + "/hardware/h800.toml"},
      std::vector<std::string>{"parallel.expert=8", "parallel.data=8"});
  const Config back = parse_config(dump_config(config), "dump", {});
  EXPECT_EQ(costs_on(linear_placement(4), back), costs_on(linear_placement(4), config));
}

TEST(Config, EveryChoiceOfATextIsOneThatCostsResolveWith) {
  for (const ConfigKey& key : config_keys()) {
    for (const std::string_view choice : key.choices) {
      const Config config = load({key.dotted() + "=" + std::string(choice)});
      EXPECT_EQ(costs_on(linear_placement(2), config).stages.size(), 2U) << key.dotted() << choice;
    }
  }
}

TEST(Config, DescribesEveryKeyOnce) {
  const std::string text = describe_config();
  EXPECT_THAT(text,
              ContainsRegex("\npipeline\\.ranks +devices in the pipeline\n +a whole number from 1 "
                            "to 100000; default 8\n"));
  for (const ConfigKey& key : config_keys()) {
    const std::size_t place = text.find("\n" + key.dotted() + " ");
    EXPECT_TRUE(place != std::string::npos || text.starts_with(key.dotted())) << key.dotted();
  }
}

}  // namespace
}  // namespace dualpipe
