#include "costs/collectives.h"

#include <gtest/gtest.h>

#include "costs/hardware.h"
#include "costs/layer_times.h"
#include "costs/model.h"
#include "costs/parallel.h"
#include "tests/support/published_models.h"
#include "tests/support/training_setups.h"

namespace dualpipe {
namespace {

TEST(MessageTime, IsLatencyAndBytesOverBandwidth) {
  HardwareConfig hardware = round_machine();
  hardware.node_latency_us = 2.0;
  hardware.network_latency_us = 5.0;
  hardware.communication_efficiency = 0.5;
  const MessageTime near = message_time(hardware, true, 1e9);
  EXPECT_DOUBLE_EQ(near.latency, 2e-6);
  EXPECT_DOUBLE_EQ(near.busy, 1.0 / 50.0);
  const MessageTime far = message_time(hardware, false, 1e9);
  EXPECT_DOUBLE_EQ(far.seconds(), 5e-6 + 1.0 / 5.0);
}

// (n - 1) / n of the bytes, over the wire that the group is on.
TEST(RingSeconds, TakesTheClosedFormOfARing) {
  const HardwareConfig hardware = round_machine();
  EXPECT_DOUBLE_EQ(ring_seconds(hardware, {.members = 1}, 1e9), 0.0);
  EXPECT_DOUBLE_EQ(ring_seconds(hardware, {.members = 4}, 1e9), 0.75 / 100.0);
  EXPECT_DOUBLE_EQ(ring_seconds(hardware, {.members = 4, .stride = 8}, 1e9), 0.75 / 10.0);
}

// 16 GPUs of two nodes: 7/8 of the bytes within the node, then 1/2 of an eighth between nodes.
// Every other GPU of them: 3/4, then 1/2 of a quarter.
TEST(RingSeconds, GoesThroughANodeFirst) {
  const HardwareConfig hardware = round_machine();
  EXPECT_DOUBLE_EQ(ring_seconds(hardware, {.members = 16}, 1e9),
                   0.875 / 100.0 + 0.5 * 0.125 / 10.0);
  EXPECT_DOUBLE_EQ(ring_seconds(hardware, {.members = 8, .stride = 2}, 1e9),
                   0.75 / 100.0 + 0.5 * 0.25 / 10.0);
}

TEST(RingSeconds, HasALatencyForEveryStep) {
  HardwareConfig hardware = round_machine();
  hardware.node_latency_us = 1.0;
  hardware.network_latency_us = 10.0;
  EXPECT_NEAR(ring_seconds(hardware, {.members = 16}, 0.0), 7e-6 + 10e-6, 1e-12);
}

// 4096 tokens to 4 nodes, 7168 values each: 121 MB in fp8 with its scales, 235 MB in bf16.
TEST(ExpertExchange, OfDeepSeekV3SendsThePublishedBytes) {
  const TrainingSetup setup = deepseek_v3_on_h800();
  const auto megabytes = [&](double bytes_per_value) {
    return expert_exchange_bytes(setup.model, setup.parallel, setup.hardware, bytes_per_value) /
           1e6;
  };
  EXPECT_NEAR(megabytes(value_bytes(setup.parallel.dispatch_type)), 121.0, 0.5);
  EXPECT_NEAR(megabytes(2.0), 235.0, 0.5);
}

// Mixtral's two experts over 8 GPUs: two copies of a token, whether to GPUs of one node or to two
// nodes; one node of two allows one copy.
TEST(ExpertExchange, SendsATokenOnceToEveryPlace) {
  const ModelConfig model = mixtral_8x7b();
  HardwareConfig hardware = round_machine();
  ParallelConfig parallel{.sequence = 1000, .expert = 8, .data = 8, .expert_imbalance = 1.5};
  const double copy = 1000.0 * 4096.0 * 2.0;
  EXPECT_EQ(expert_exchange_bytes(model, parallel, hardware, 2.0), 2.0 * copy);
  EXPECT_DOUBLE_EQ(expert_exchange_seconds(model, parallel, hardware, 2.0),
                   1.5 * 2.0 * copy / 100e9);
  hardware.gpus_per_node = 4;
  EXPECT_EQ(expert_exchange_bytes(model, parallel, hardware, 2.0), 2.0 * copy);
  EXPECT_DOUBLE_EQ(expert_exchange_seconds(model, parallel, hardware, 2.0),
                   1.5 * 2.0 * copy / 10e9);
  parallel.expert_nodes = 1;
  EXPECT_EQ(expert_exchange_bytes(model, parallel, hardware, 2.0), copy);
}

TEST(ExpertExchange, IsNothingWhereNoExpertIsElsewhere) {
  const HardwareConfig hardware = round_machine();
  EXPECT_EQ(expert_exchange_seconds(mixtral_8x7b(), {.data = 8}, hardware, 2.0), 0.0);
  EXPECT_EQ(expert_exchange_seconds(llama_3_8b(), {.data = 8}, hardware, 2.0), 0.0);
}

}  // namespace
}  // namespace dualpipe
