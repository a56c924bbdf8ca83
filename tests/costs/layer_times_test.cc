#include "costs/layer_times.h"

#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/cost_model.h"
#include "costs/error.h"
#include "costs/hardware.h"
#include "costs/overlap.h"
#include "costs/parallel.h"
#include "costs/transformer.h"
#include "tests/support/published_models.h"
#include "tests/support/refusal.h"
#include "tests/support/training_setups.h"

namespace dualpipe {
namespace {

using testing::HasSubstr;

TrainingSetup round_setup() {
  return {.model = llama_3_8b(), .parallel = {}, .hardware = round_machine()};
}

LayerTimes dense_times(const TrainingSetup& setup, Recompute recompute = Recompute::none) {
  return decoder_layer_times(setup, LayerKind::dense, recompute);
}

double milliseconds(Time time) {
  return static_cast<double>(time.count()) / 1e6;
}

// By hand: projections 4 h d (a + g) = 83.9 MFLOP, core attention 2 s a d = 33.6 MFLOP, MLP 6 h f =
// 352.3 MFLOP a token; 4096 tokens at 100 TFLOPS are 40.96 ns for every MFLOP per token.
TEST(DecoderLayerTimes, DivideFlopBySpeed) {
  const LayerTimes times = dense_times(round_setup());
  const double projections = 4.0 * 4096 * 128 * (32 + 8) / 1e6;
  const double core = 2.0 * 4096 * 32 * 128 / 1e6;
  const double mlp = 6.0 * 4096 * 14336 / 1e6;
  const double per_mflop = 4096.0 / 1e5;  // ms
  EXPECT_NEAR(milliseconds(times.attention_forward), (projections + core) * per_mflop, 1e-5);
  EXPECT_NEAR(milliseconds(times.attention_input), (projections + 2.5 * core) * per_mflop, 1e-5);
  EXPECT_NEAR(milliseconds(times.attention_weight), projections * per_mflop, 1e-5);
  EXPECT_NEAR(milliseconds(times.mlp_forward), mlp * per_mflop, 1e-5);
  EXPECT_NEAR(milliseconds(times.mlp_input), mlp * per_mflop, 1e-5);
  EXPECT_NEAR(milliseconds(times.mlp_weight), mlp * per_mflop, 1e-5);
  EXPECT_EQ(times.dispatch_forward + times.combine_forward + times.dispatch_backward +
                times.combine_backward,
            Time(0));
}

TEST(DecoderLayerTimes, TakeEachKindsOwnEfficiencyAndTheSmsThatAreLeft) {
  TrainingSetup setup = round_setup();
  const LayerTimes whole = dense_times(setup);
  setup.hardware.efficiency_forward = {0.5};
  setup.hardware.efficiency_input = {0.25};
  setup.hardware.efficiency_weight = {0.2};
  setup.hardware.sms = 100;
  setup.hardware.communication_sms = 20;
  const LayerTimes slower = dense_times(setup);
  EXPECT_NEAR(milliseconds(slower.mlp_forward), milliseconds(whole.mlp_forward) / 0.4, 1e-5);
  EXPECT_NEAR(milliseconds(slower.mlp_input), milliseconds(whole.mlp_input) / 0.2, 1e-5);
  EXPECT_NEAR(milliseconds(slower.mlp_weight), milliseconds(whole.mlp_weight) / 0.16, 1e-5);
}

// The MLP of 4096 tokens is 1.44 TFLOP; a curve is read there, not at the size of another piece.
TEST(DecoderLayerTimes, ReadACurveAtThePiecesOwnSize) {
  TrainingSetup setup = round_setup();
  const LayerTimes whole = dense_times(setup);
  setup.hardware.efficiency = {1e12, 0.25, 1.001e12, 0.5};
  const LayerTimes curved = dense_times(setup);
  EXPECT_NEAR(milliseconds(curved.mlp_forward), 2.0 * milliseconds(whole.mlp_forward), 1e-4);
  EXPECT_NEAR(milliseconds(curved.attention_weight), 4.0 * milliseconds(whole.attention_weight),
              1e-4);
}

// One token reads all weights: 3 h f parameters of 2 bytes at 1 GB/s, and next to no operands.
TEST(DecoderLayerTimes, AreBoundByMemoryForFewTokens) {
  TrainingSetup setup = round_setup();
  setup.parallel.sequence = 1;
  setup.hardware.memory_gb_per_s = 1.0;
  const double weights = 3.0 * 4096 * 14336 + 4096;
  const double operands = 2.0 * (4096 + 14336 + 2 * 14336 + 4096);
  EXPECT_NEAR(milliseconds(dense_times(setup).mlp_forward), (2.0 * weights + operands) / 1e6, 1e-5);
  EXPECT_NEAR(milliseconds(dense_times(setup).mlp_weight), (4.0 * weights + operands) / 1e6, 1e-5);
}

TEST(DecoderLayerTimes, LaunchEveryPiece) {
  TrainingSetup setup = round_setup();
  const LayerTimes without = dense_times(setup);
  setup.hardware.launch_us = 10.0;
  const LayerTimes with = dense_times(setup);
  EXPECT_EQ(with.mlp_forward - without.mlp_forward, Time(10'000));
  EXPECT_EQ(with.attention_forward - without.attention_forward, Time(20'000));
}

// Two slices: half of the computing, and four times a layer and way half of 4096 x 4096 x 2 bytes.
TEST(DecoderLayerTimes, OfTensorSlicesShareTheWorkAndExchangeTokens) {
  TrainingSetup setup = round_setup();
  const LayerTimes whole = dense_times(setup);
  setup.parallel.tensor = 2;
  const LayerTimes sliced = dense_times(setup);
  EXPECT_NEAR(milliseconds(sliced.mlp_forward), milliseconds(whole.mlp_forward) / 2.0, 1e-5);
  const double exchange = 2.0 * 0.5 * 4096 * 4096 * 2 / 100e6;  // ms
  for (const Time time : {sliced.dispatch_forward, sliced.combine_forward, sliced.dispatch_backward,
                          sliced.combine_backward}) {
    EXPECT_NEAR(milliseconds(time), exchange, 1e-5);
  }
}

// Two context slices halve the tokens. Keys and values of the other half, 2 x 8 heads x 128 values
// of 2 bytes a token, hide behind core attention at 100 GB/s but not at a hundredth of that.
TEST(DecoderLayerTimes, OfContextSlicesPassKeysAndValuesRound) {
  TrainingSetup setup = round_setup();
  const LayerTimes whole = dense_times(setup);
  setup.parallel.context = 2;
  EXPECT_NEAR(milliseconds(dense_times(setup).attention_forward),
              milliseconds(whole.attention_forward) / 2.0, 1e-5);
  setup.hardware.node_gb_per_s = 1.0;
  const double ring = 2048.0 * 2 * 8 * 128 * 2 / 1e6;  // ms
  EXPECT_NEAR(milliseconds(dense_times(setup).attention_forward),
              ring + milliseconds(whole.attention_weight) / 2.0, 1e-5);
  EXPECT_NEAR(milliseconds(dense_times(setup).attention_input),
              2.0 * ring + milliseconds(whole.attention_weight) / 2.0, 1e-5);
}

TEST(DecoderLayerTimes, OfFullRecomputationRepeatTheForwardAndItsDispatch) {
  TrainingSetup setup = round_setup();
  setup.parallel.tensor = 2;
  const LayerTimes plain = dense_times(setup);
  const LayerTimes again = dense_times(setup, Recompute::full);
  EXPECT_EQ(again.mlp_input, plain.mlp_input + plain.mlp_forward);
  EXPECT_NEAR(milliseconds(again.attention_input),
              milliseconds(plain.attention_input + plain.attention_forward), 1e-5);
  EXPECT_NEAR(milliseconds(again.combine_backward),
              milliseconds(plain.combine_backward + plain.dispatch_forward), 1e-5);
  EXPECT_EQ(again.dispatch_backward, plain.dispatch_backward);
}

// The published profile, per MoE layer: F 8.97, I 14.65 and W 7.46 ms of computing. The
// efficiencies were fitted to these, so this shows that fit and formulas agree, no more.
TEST(DecoderLayerTimes, OfDeepSeekV3AreThoseOfItsProfile) {
  const LayerTimes times =
      decoder_layer_times(deepseek_v3_on_h800(), LayerKind::moe, Recompute::selective);
  EXPECT_NEAR(milliseconds(times.attention_forward + times.mlp_forward), 8.97, 0.05);
  EXPECT_NEAR(milliseconds(times.attention_input + times.mlp_input), 14.65, 0.05);
  EXPECT_NEAR(milliseconds(times.backward_weight()), 7.46, 0.05);
  // 121 and 235 MB at 40 GB/s; a gradient goes the other way round.
  EXPECT_NEAR(milliseconds(times.dispatch_forward), 3.03, 0.01);
  EXPECT_NEAR(milliseconds(times.combine_forward), 5.87, 0.01);
  EXPECT_EQ(times.combine_backward, times.dispatch_forward);
  EXPECT_EQ(times.dispatch_backward, times.combine_forward);
}

// 2 h V FLOP a token and way, in bf16 whatever the type of other products.
TEST(HeadTimes, AreOfBf16Products) {
  TrainingSetup setup = round_setup();
  setup.hardware.peak_fp8_tflops = 200.0;
  setup.hardware.gemm_type = "fp8";
  const LayerTimes times = head_times(setup);
  const double expected = 2.0 * 4096 * 128256 * 4096 / 1e11;  // ms
  EXPECT_NEAR(milliseconds(times.forward()), expected, 1e-5);
  EXPECT_NEAR(milliseconds(times.backward_input()), expected, 1e-5);
  EXPECT_NEAR(milliseconds(times.backward_weight()), expected, 1e-5);
  setup.hardware.efficiency_weight = {0.1};
  setup.hardware.efficiency_head = {0.5};
  EXPECT_NEAR(milliseconds(head_times(setup).backward_weight()), 2.0 * expected, 1e-5);
}

TEST(MtpTimes, AddTheModulesProductToALayer) {
  const TrainingSetup setup = round_setup();
  const LayerTimes layer = dense_times(setup);
  const LayerTimes module = mtp_times(setup, LayerKind::dense, Recompute::none);
  EXPECT_NEAR(milliseconds(module.attention_forward - layer.attention_forward),
              2.0 * 2.0 * 4096 * 4096 * 4096 / 1e11, 1e-5);
  EXPECT_EQ(module.mlp_forward, layer.mlp_forward);
}

TEST(WholeTime, RefusesWhatNoMachineTakes) {
  EXPECT_EQ(whole_time(1e-9, "x"), Time(1));
  EXPECT_EQ(whole_time(1000.0, "x"), Time(1'000'000'000'000));
  for (const double bad : {1000.1, -1.0, std::numeric_limits<double>::quiet_NaN()}) {
    EXPECT_THAT(refusal(ExitCode::usage, [&] { return whole_time(bad, "MLP, forward"); }),
                HasSubstr("MLP, forward: expected at most 1000 s"));
  }
}

}  // namespace
}  // namespace dualpipe
