#include "runtime/stage.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include <gtest/gtest.h>

namespace dualpipe {
namespace {

// Writes down which of its calls ran, for which microbatch.
class RecordingStage final : public Stage {
 public:
  RecordingStage(std::string name, std::string& record) : name_(std::move(name)), record_(record) {}

  [[nodiscard]] std::size_t input_bytes() const override { return 0; }
  [[nodiscard]] std::size_t output_bytes() const override { return 0; }
  [[nodiscard]] std::size_t parameter_count() const override { return 0; }
  [[nodiscard]] std::int64_t activation_bytes() const override { return 0; }
  void allocate(int /*activation_slots*/) override {}
  void forward(const StageOp& op, std::span<const std::byte> input,
               std::span<std::byte> output) override {
    record("F", op, input.size() + output.size());
  }
  [[nodiscard]] double loss(int /*microbatch*/) const override { return 0.0; }
  void backward_input(const StageOp& op, std::span<const std::byte> output_gradient,
                      std::span<std::byte> input_gradient) override {
    record("I", op, output_gradient.size() + input_gradient.size());
  }
  void backward_weight(const StageOp& op, std::span<float> gradient) override {
    record("W", op, gradient.size());
  }
  void apply_gradient(std::span<const float> /*gradient*/) override {}

 private:
  void record(const std::string& call, const StageOp& op, std::size_t size) {
    record_ += name_ + call + std::to_string(op.microbatch) + "(" + std::to_string(size) + ") ";
  }

  std::string name_;
  std::string& record_;
};

TEST(Stage, FullBackwardIsTheInputHalfThenTheWeightHalf) {
  std::string record;
  RecordingStage stage("0", record);
  std::array<std::byte, 3> bytes{};
  std::array<float, 7> gradient{};
  stage.backward({.op = {.microbatch = 5},
                  .output_gradient = std::span(bytes).first(1),
                  .input_gradient = std::span(bytes).first(2),
                  .gradient = gradient});
  EXPECT_EQ(record, "0I5(3) 0W5(7) ");
}

TEST(Stage, OverlappedPairRunsTheForwardThenTheOtherStagesBackward) {
  std::string record;
  RecordingStage stage("0", record);
  RecordingStage other("3", record);
  std::array<std::byte, 4> bytes{};
  stage.forward_overlapped({.op = {.microbatch = 7}, .input = bytes, .output = {}}, other,
                           {.op = {.microbatch = 2},
                            .output_gradient = std::span(bytes).first(1),
                            .input_gradient = {},
                            .gradient = {}});
  EXPECT_EQ(record, "0F7(4) 3I2(1) 3W2(0) ");
}

}  // namespace
}  // namespace dualpipe
