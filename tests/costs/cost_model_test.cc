#include "costs/cost_model.h"

#include <cmath>
#include <cstddef>
#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/error.h"
#include "tests/support/refusal.h"

namespace dualpipe {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

StageCosts stage_costs(int forward, int input, int weight, int overlapped) {
  return {.forward = Time(forward),
          .backward_input = Time(input),
          .backward_weight = Time(weight),
          .overlapped = Time(overlapped)};
}

// What resolve_costs() says to the defaults changed by `change`, for 2 ranks and 4 stages.
std::string refusal_after(const std::function<void(CostConfig&)>& change) {
  CostConfig config;
  change(config);
  return refusal(ExitCode::usage, [&] { return resolve_costs(config, 2, 4); });
}

TEST(ResolveCosts, DefaultsAreOneMillisecondPerHalfAndNoOverlapGain) {
  const CostModel costs = resolve_costs({}, 4, 4);
  ASSERT_EQ(costs.stages.size(), 4U);
  EXPECT_EQ(costs.p2p, Time(0));
  for (const StageCosts& stage : costs.stages) {
    EXPECT_EQ(stage, stage_costs(1'000'000, 1'000'000, 1'000'000, 3'000'000));
    EXPECT_EQ(stage.backward(), Time(2'000'000));
  }
}

TEST(ResolveCosts, PerRankDividesAmongTheStagesOfARankButNeverATransfer) {
  CostConfig config;
  config.forward = 3.0;
  config.overlapped = 4.5;
  config.p2p = 0.25;
  config.activation_bytes = 1000.0;
  config.weight_operand_bytes = 10.0;
  const CostModel costs = resolve_costs(config, 2, 6);  // three stages on each rank
  EXPECT_EQ(costs.p2p, Time(250'000));
  for (const StageCosts& stage : costs.stages) {
    EXPECT_EQ(stage.forward, Time(1'000'000));
    EXPECT_EQ(stage.backward_input, Time(333'333));
    EXPECT_EQ(stage.overlapped, Time(1'500'000));
    EXPECT_EQ(stage.bytes.activation, 333);
    EXPECT_EQ(stage.bytes.weight_operands, 3);
  }
}

// Parameters are of the rank's share of the model; a boundary and the logits are what they are.
TEST(ResolveCosts, KnowsParametersMessagesAndTheEndOfTheStep) {
  CostConfig config;
  config.weight_bytes = 100.0;
  config.gradient_bytes = 200.0;
  config.optimizer_bytes = 600.0;
  config.boundary_bytes = 32.0;
  config.logits_bytes = 64.0;
  config.replica_reduce = 2.0;
  config.gradient_reduce = 4.0;
  config.optimizer = 6.0;
  config.parameter_gather = 8.0;
  config.gradient_norm = 0.5;
  config.post_validation = true;
  const CostModel costs = resolve_costs(config, 2, 4);  // two stages on each rank
  EXPECT_EQ(costs.stages[0].bytes,
            (StageBytes{.boundary = 32, .weights = 50, .gradients = 100, .optimizer = 300}));
  EXPECT_EQ(costs.stages[3].bytes.logits, 64);
  EXPECT_EQ(costs.stages[2].tail, (StageTail{.replica_reduce = Time(1'000'000),
                                             .gradient_reduce = Time(2'000'000),
                                             .optimizer = Time(3'000'000),
                                             .parameter_gather = Time(4'000'000)}));
  EXPECT_EQ(costs.gradient_norm, Time(500'000));
  EXPECT_TRUE(costs.post_validation);
}

// The derived model has a forward of 10, an input half of 20, a weight half of 10 and 30 together,
// three quarters of their sum.
TEST(OverrideCosts, TakesWhatIsSetAndLeavesTheRest) {
  const CostModel derived{.stages = {stage_costs(10, 20, 10, 30), stage_costs(10, 20, 10, 30)},
                          .p2p = Time(7),
                          .p2p_latency = Time(3),
                          .ranks_per_node = 2,
                          .gradient_norm = Time(5)};
  CostConfig config;
  config.unit = "ns";
  config.per = "stage";
  EXPECT_EQ(override_costs(derived, config, 2), derived);
  config.forward = CostValue({20.0, 30.0}, "here");
  config.weight_bytes = CostValue({9.0}, "here");
  config.gradient_norm = 0.0;
  CostModel costs = override_costs(derived, config, 2);
  EXPECT_EQ(costs.stages[0].forward, Time(20));
  EXPECT_EQ(costs.stages[0].overlapped, Time(38));  // 0.75 * 50
  EXPECT_EQ(costs.stages[1].overlapped, Time(45));
  EXPECT_EQ(costs.stages[1].backward_input, Time(20));
  EXPECT_EQ(costs.stages[1].bytes.weights, 9);
  EXPECT_EQ(costs.p2p, Time(7));
  EXPECT_EQ(costs.ranks_per_node, 2);
  EXPECT_EQ(costs.gradient_norm, Time(0));
  config.overlapped = CostValue({40.0}, "here");
  config.p2p = 100.0;
  costs = override_costs(derived, config, 2);
  EXPECT_EQ(costs.stages[0].overlapped, Time(40));
  EXPECT_EQ(costs.link(0, 1),
            (Link{.latency = Time(0), .busy = Time(0)}));  // in one node, as derived
  EXPECT_EQ(costs.link(1, 2), (Link{.latency = Time(3), .busy = Time(97)}));
  config.p2p.reset();
  config.p2p_latency = 5.0;
  EXPECT_EQ(override_costs(derived, config, 2).link(1, 2),
            (Link{.latency = Time(5), .busy = Time(2)}));
  config.p2p_latency = 8.0;
  EXPECT_THAT(refusal(ExitCode::usage, [&] { return override_costs(derived, config, 2); }),
              StartsWith("costs.p2p_latency: expected at most the whole transfer, 7 ns"));
}

// An embedding alone takes no time, so its pair has no ratio to keep.
TEST(OverrideCosts, GivesTimeToAStageThatHadNone) {
  const CostModel derived{.stages = {StageCosts{}}};
  CostConfig config;
  config.unit = "ns";
  config.per = "stage";
  config.forward = CostValue({20.0}, "here");
  EXPECT_EQ(override_costs(derived, config, 1).stages[0].overlapped, Time(20));
}

TEST(ResolveCosts, ATransferIsAllLatencyUnlessItIsSaidHowMuch) {
  CostConfig config;
  config.p2p = 2.0;
  CostModel costs = resolve_costs(config, 4, 4);
  EXPECT_EQ(costs.link(0, 1), (Link{.latency = Time(2'000'000), .busy = Time(0)}));
  config.p2p_latency = 0.5;
  config.p2p_in_node = 1.0;
  config.p2p_in_node_latency = 0.25;
  config.ranks_per_node = 2;
  costs = resolve_costs(config, 4, 4);
  EXPECT_EQ(costs.link(1, 2), (Link{.latency = Time(500'000), .busy = Time(1'500'000)}));
  EXPECT_EQ(costs.link(2, 3), (Link{.latency = Time(250'000), .busy = Time(750'000)}));
  EXPECT_EQ(costs.transfer(1, 2), Time(2'000'000));
  EXPECT_EQ(costs.transfer(0, 1), Time(1'000'000));
}

TEST(ResolveCosts, RefusesMoreLatencyThanTheTransferTakes) {
  EXPECT_THAT(
      refusal_after([](CostConfig& config) { config.p2p_latency = 0.5; }),
      AllOf(StartsWith("costs.p2p_latency: "), HasSubstr("at most the whole transfer, 0 ns")));
  EXPECT_THAT(refusal_after([](CostConfig& config) { config.p2p_in_node_latency = 0.5; }),
              StartsWith("costs.p2p_in_node_latency: "));
  EXPECT_THAT(
      refusal_after([](CostConfig& config) { config.ranks_per_node = -1; }),
      StartsWith("costs.ranks_per_node: expected a whole number from 0 to 100000, found -1"));
  EXPECT_THAT(
      refusal_after([](CostConfig& config) { config.logits_bytes = CostNumber(-1.0, "a:5:9"); }),
      StartsWith("a:5:9: costs.logits_bytes: "));
}

TEST(ResolveCosts, RefusesOneNumberWithThePlaceItWasReadFrom) {
  EXPECT_THAT(refusal_after([](CostConfig& config) { config.p2p = CostNumber(2e6, "a:2:7"); }),
              StartsWith("a:2:7: costs.p2p: expected a number from 0 to 1e+06, found 2e+06"));
  EXPECT_THAT(
      refusal_after([](CostConfig& config) { config.p2p_latency = CostNumber(1.0, "a:3:15"); }),
      StartsWith("a:3:15: costs.p2p_latency: expected at most the whole transfer, 0 ns"));
  EXPECT_THAT(
      refusal_after([](CostConfig& config) { config.gradient_norm = CostNumber(-1.0, "a:4:17"); }),
      StartsWith("a:4:17: costs.gradient_norm: "));
}

TEST(ResolveCosts, PerStageTakesTheNumbersAsTheyAre) {
  CostConfig config;
  config.per = "stage";
  config.activation_bytes = 1000.0;
  const CostModel costs = resolve_costs(config, 2, 6);
  EXPECT_EQ(costs.stages.front().forward, Time(1'000'000));
  EXPECT_EQ(costs.stages.back().bytes.activation, 1000);
}

TEST(ResolveCosts, KnowsFourUnits) {
  CostConfig config;
  config.forward = 0.5;
  config.p2p = 2.0;
  const std::vector<std::pair<const char*, long>> units{
      {"ns", 1}, {"us", 1000}, {"ms", 1'000'000}, {"s", 1'000'000'000}};
  for (const auto& [unit, nanoseconds] : units) {
    config.unit = unit;
    const CostModel costs = resolve_costs(config, 1, 1);
    EXPECT_EQ(costs.p2p, Time(2 * nanoseconds)) << unit;
    EXPECT_EQ(costs.stages[0].forward, Time((nanoseconds + 1) / 2)) << unit;  // half a ns is one
  }
}

TEST(ResolveCosts, RoundsToTheNearestNanosecond) {
  CostConfig config;
  config.unit = "ns";
  config.forward = CostValue({0.4, 0.6, 1.5, 1e12}, "");
  const CostModel costs = resolve_costs(config, 4, 4);
  EXPECT_EQ(costs.stages[0].forward, Time(0));
  EXPECT_EQ(costs.stages[1].forward, Time(1));
  EXPECT_EQ(costs.stages[2].forward, Time(2));
  EXPECT_EQ(costs.stages[3].forward, Time(1'000'000'000'000));
}

TEST(ResolveCosts, OverlappedDefaultsToTheSumOfTheRoundedHalves) {
  const CostModel costs = resolve_costs({}, 1, 3);
  EXPECT_EQ(costs.stages[0].overlapped, Time(3 * 333'333));
}

// The halves round up to 2 ns together where the overlapped time of 1 ns is exact.
TEST(ResolveCosts, RoundingAloneRefusesNothing) {
  CostConfig config;
  config.unit = "ns";
  config.forward = 0.0;
  config.backward_input = 0.5;
  config.backward_weight = 0.5;
  config.overlapped = 1.0;
  EXPECT_EQ(resolve_costs(config, 1, 1).stages[0].overlapped, Time(2));
}

TEST(ResolveCosts, ListsSayEveryStage) {
  CostConfig config;
  config.per = "stage";
  config.unit = "ns";
  config.forward = CostValue({1, 2, 3, 4}, "bench.toml:3:11");
  config.overlapped = CostValue({5e6, 6e6, 7e6, 8e6}, "bench.toml:4:11");
  config.weight_operand_bytes = CostValue({1, 0, 1, 0}, "");
  const CostModel costs = resolve_costs(config, 2, 4);
  for (int stage = 0; stage < 4; ++stage) {
    const StageCosts& one = costs.stages[static_cast<std::size_t>(stage)];
    EXPECT_EQ(one.forward, Time(stage + 1));
    EXPECT_EQ(one.overlapped, Time((stage + 5) * 1'000'000));
    EXPECT_EQ(one.bytes.weight_operands, 1 - stage % 2);
  }
}

TEST(ResolveCosts, RefusesUnknownWords) {
  EXPECT_THAT(refusal_after([](CostConfig& config) { config.unit = "min"; }),
              AllOf(StartsWith("costs.unit: "), HasSubstr("ns, us, ms, s"), HasSubstr("'min'")));
  EXPECT_THAT(
      refusal_after([](CostConfig& config) { config.per = "layer"; }),
      AllOf(StartsWith("costs.per: "), HasSubstr("\"rank\" or \"stage\""), HasSubstr("\"layer\"")));
}

TEST(ResolveCosts, RefusesListsOfAnotherLengthThanTheStages) {
  const CostValue three({1, 2, 3}, "bench.toml:7:11");
  const std::vector<std::pair<const char*, std::function<void(CostConfig&)>>> keys{
      {"forward", [&](CostConfig& config) { config.forward = three; }},
      {"backward_input", [&](CostConfig& config) { config.backward_input = three; }},
      {"backward_weight", [&](CostConfig& config) { config.backward_weight = three; }},
      {"overlapped", [&](CostConfig& config) { config.overlapped = three; }},
      {"activation_bytes", [&](CostConfig& config) { config.activation_bytes = three; }},
      {"weight_operand_bytes", [&](CostConfig& config) { config.weight_operand_bytes = three; }},
  };
  for (const auto& [key, change] : keys) {
    EXPECT_THAT(refusal_after(change),
                AllOf(StartsWith(std::string("bench.toml:7:11: costs.") + key + ": "),
                      HasSubstr("a list of 4"), HasSubstr("found a list of 3")));
  }
  EXPECT_THAT(refusal_after([](CostConfig& config) { config.forward = CostValue({}, ""); }),
              HasSubstr("found a list of 0"));
}

TEST(ResolveCosts, RefusesNumbersThatAreNoTimes) {
  const double infinity = std::numeric_limits<double>::infinity();
  for (const double bad : {-1.0, -1e-9, infinity, std::nan(""), 2.1e6}) {  // the last: 1050 s
    EXPECT_THAT(refusal_after([&](CostConfig& config) {
                  config.backward_weight = CostValue({1, 1, 1, bad}, "x.toml:1:2");
                }),
                AllOf(StartsWith("x.toml:1:2: costs.backward_weight: "),
                      HasSubstr("expected a number from 0 to 2e+06"), HasSubstr("found ")));
    EXPECT_THAT(refusal_after([&](CostConfig& config) { config.p2p = bad; }),
                StartsWith("costs.p2p: expected a number from 0 to 1e+06, found"));
  }
}

TEST(ResolveCosts, RefusesBytesBeyondAPetabyte) {
  EXPECT_THAT(refusal_after([](CostConfig& config) { config.activation_bytes = 2.1e15; }),
              AllOf(StartsWith("costs.activation_bytes: "), HasSubstr("from 0 to 2e+15")));
}

TEST(ResolveCosts, RefusesAnOverlapShorterThanItsLongerHalf) {
  const auto with_overlap = [](double overlapped) {
    return [=](CostConfig& config) {
      config.per = "stage";
      config.unit = "ns";
      config.forward = 10.0;
      config.backward_input = 20.0;
      config.backward_weight = 5.0;
      config.overlapped = CostValue({25.0, 35.0, overlapped, 25.0}, "");
    };
  };
  EXPECT_THAT(refusal_after(with_overlap(20.0)),
              AllOf(StartsWith("costs.overlapped: stage 2: "), HasSubstr("25 ns"),
                    HasSubstr("found 20 ns")));
  CostConfig config;
  with_overlap(25.0)(config);
  EXPECT_EQ(resolve_costs(config, 2, 4).stages[2].overlapped, Time(25));
}

// Ten million microbatches of 1000 s are 10^10 s, ten times what 64 bits of nanoseconds hold.
TEST(RequireStepFits, RefusesSumsBeyond64Bits) {
  CostConfig config;
  config.unit = "s";
  config.forward = 1000.0;
  EXPECT_NO_THROW(require_step_fits(resolve_costs(config, 1, 1), 100'000));
  EXPECT_THAT(refusal(ExitCode::usage,
                      [&] {
                        require_step_fits(resolve_costs(config, 1, 1), 10'000'000);
                        return 0;
                      }),
              HasSubstr("ns in a step of 10000000 microbatches"));
  CostConfig bytes;
  bytes.activation_bytes = 1e15;
  EXPECT_THAT(refusal(ExitCode::usage,
                      [&] {
                        require_step_fits(resolve_costs(bytes, 1, 1), 20'000);
                        return 0;
                      }),
              HasSubstr("bytes in a step of 20000 microbatches"));
}

TEST(OverlappedTime, OfAStageWithItselfIsTheStagesOwn) {
  const StageCosts stage = stage_costs(10, 20, 5, 31);
  EXPECT_EQ(overlapped_time(stage, stage), Time(31));
}

// One saves 10 + 25 - 30 = 5, the other 8 + 20 - 21 = 7; a mixed pair saves 6.
TEST(OverlappedTime, OfTwoStagesSavesHalfOfWhatEachWould) {
  const StageCosts one = stage_costs(10, 20, 5, 30);
  const StageCosts other = stage_costs(8, 12, 8, 21);
  EXPECT_EQ(overlapped_time(one, other), Time(10 + 20 - 6));
  EXPECT_EQ(overlapped_time(other, one), Time(8 + 25 - 6));
}

// Apart 1 + 10, less (1 + 10) / 2, would end before the backward does.
TEST(OverlappedTime, IsNeverShorterThanItsLongerHalf) {
  const StageCosts small = stage_costs(1, 6, 4, 10);
  const StageCosts large = stage_costs(10, 6, 4, 10);
  EXPECT_EQ(overlapped_time(small, large), Time(10));
}

}  // namespace
}  // namespace dualpipe
