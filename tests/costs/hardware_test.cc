#include "costs/hardware.h"

#include <functional>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/error.h"
#include "tests/support/refusal.h"

namespace dualpipe {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

HardwareConfig complete() {
  return {.peak_bf16_tflops = 989.4,
          .memory_gb = 80.0,
          .memory_gb_per_s = 3350.0,
          .node_gb_per_s = 450.0,
          .network_gb_per_s = 50.0};
}

std::string refusal_after(const std::function<void(HardwareConfig&)>& change) {
  HardwareConfig hardware = complete();
  change(hardware);
  return refusal(ExitCode::usage, [&] {
    require_hardware(hardware);
    return 0;
  });
}

TEST(RequireHardware, AcceptsWhatIsCompleteAndNamesWhatIsMissing) {
  require_hardware(complete());
  EXPECT_THAT(refusal_after([](HardwareConfig& hardware) { hardware = {}; }),
              StartsWith("hardware.peak_bf16_tflops: expected a number from 1e-06"));
  EXPECT_THAT(refusal_after([](HardwareConfig& hardware) { hardware.network_gb_per_s = 0.0; }),
              StartsWith("hardware.network_gb_per_s: "));
  EXPECT_THAT(refusal_after([](HardwareConfig& hardware) { hardware.gemm_type = "fp8"; }),
              StartsWith("hardware.peak_fp8_tflops: "));
  EXPECT_THAT(refusal_after([](HardwareConfig& hardware) { hardware.gemm_type = "fp16"; }),
              HasSubstr("(did you mean 'bf16'?)"));
}

TEST(RequireHardware, KeepsAnSmToComputeWith) {
  EXPECT_THAT(refusal_after([](HardwareConfig& hardware) { hardware.communication_sms = 20; }),
              StartsWith("hardware.communication_sms: expected a whole number from 0 to 0"));
  EXPECT_THAT(refusal_after([](HardwareConfig& hardware) {
                hardware.sms = 132;
                hardware.communication_sms = 132;
              }),
              StartsWith("hardware.communication_sms: expected a whole number from 0 to 131"));
}

TEST(RequireHardware, RefusesListsThatAreNoCurve) {
  EXPECT_THAT(refusal_after([](HardwareConfig& hardware) { hardware.efficiency = {}; }),
              StartsWith("hardware.efficiency: expected one efficiency"));
  EXPECT_THAT(refusal_after([](HardwareConfig& hardware) { hardware.efficiency = {1.1}; }),
              StartsWith("hardware.efficiency: expected a number from 1e-06 to 1"));
  EXPECT_THAT(
      refusal_after([](HardwareConfig& hardware) { hardware.efficiency_input = {1e9, 0.5, 1e12}; }),
      StartsWith("hardware.efficiency_input: expected one efficiency, or pairs"));
  EXPECT_THAT(refusal_after([](HardwareConfig& hardware) {
                hardware.efficiency_weight = {1e9, 0.5, 1e9, 0.6};
              }),
              HasSubstr("found 1e+09 after 1e+09"));
}

// DeepSeek-V3 gives 20 of an H800's 132 SMs to communication.
TEST(HardwareConfig, ComputesWithTheSmsThatAreLeft) {
  HardwareConfig hardware = complete();
  EXPECT_EQ(hardware.sm_share(), 1.0);
  hardware.sms = 132;
  hardware.communication_sms = 20;
  EXPECT_DOUBLE_EQ(hardware.sm_share(), 112.0 / 132.0);
}

// Half way between 10^9 and 10^11 in logarithm is 10^10.
TEST(EfficiencyAt, IsStraightOverTheLogarithmOfFlopAndLevelBeyond) {
  const std::vector<double> curve{1e9, 0.2, 1e11, 0.4, 1e12, 0.8};
  EXPECT_DOUBLE_EQ(efficiency_at(curve, {0.5}, 1.0), 0.2);
  EXPECT_DOUBLE_EQ(efficiency_at(curve, {0.5}, 1e9), 0.2);
  EXPECT_NEAR(efficiency_at(curve, {0.5}, 1e10), 0.3, 1e-12);
  EXPECT_NEAR(efficiency_at(curve, {0.5}, 1e11), 0.4, 1e-12);
  EXPECT_NEAR(efficiency_at(curve, {0.5}, 1e15), 0.8, 1e-12);
  EXPECT_EQ(efficiency_at({}, {0.5}, 1e10), 0.5);
  EXPECT_EQ(efficiency_at({0.7}, {0.5}, 1e10), 0.7);
}

}  // namespace
}  // namespace dualpipe
