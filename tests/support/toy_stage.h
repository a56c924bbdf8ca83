// A tiny stage for tests of the runtime: a few floats in, a few floats out, every call checked
// against what stage.h promises, and written down.

#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "runtime/stage.h"
#include "scheduler/pipeline.h"

namespace dualpipe {

struct ToyModel {
  int stages = 1;
  int microbatches = 1;
  // Called at the beginning of every call with its text, as "1F0"; may throw.
  std::function<void(const std::string& call)> before;
  // Likewise of the calls outside a step's slots: "allocate", "save", "restore".
  std::function<void(const std::string& call)> before_others = nullptr;
};

// Of the pipeline's size, with nothing that is called.
[[nodiscard]] ToyModel model_of(const Pipeline& pipeline);

// Output i is input i times parameter i, plus half of the next input; the loss is half the sum of
// the last outputs' squares. Magnitudes differ so much between microbatches that another order of
// summation gives other bits. Throws std::logic_error when it is called against its contract.
class ToyStage final : public Stage {
 public:
  static constexpr std::size_t width = 5;

  ToyStage(const ToyModel& model, int stage);

  [[nodiscard]] std::size_t input_bytes() const override;
  [[nodiscard]] std::size_t output_bytes() const override;
  [[nodiscard]] std::size_t parameter_count() const override { return width; }
  [[nodiscard]] std::int64_t activation_bytes() const override { return 100 + stage_; }
  void allocate(int activation_slots) override;
  void forward(const StageOp& op, std::span<const std::byte> input,
               std::span<std::byte> output) override;
  [[nodiscard]] double loss(int microbatch) const override;
  void backward_input(const StageOp& op, std::span<const std::byte> output_gradient,
                      std::span<std::byte> input_gradient) override;
  void backward_weight(const StageOp& op, std::span<float> gradient) override;
  void apply_gradient(std::span<const float> gradient) override;
  [[nodiscard]] std::vector<std::byte> save() const override;
  void restore(std::span<const std::byte> state) override;
  void backward(const BackwardCall& call) override;
  void forward_overlapped(const ForwardCall& forward, Stage& other,
                          const BackwardCall& backward) override;

  [[nodiscard]] std::span<const float> parameters() const { return parameters_; }

 private:
  enum class Progress { empty, forward_done, input_done };
  struct Slot {
    Progress progress = Progress::empty;
    StageOp op;
    std::vector<float> input;
    std::vector<float> output;
    std::vector<float> output_gradient;
  };

  void begin(const std::string& call) const;
  void begin_other(const std::string& call) const;
  [[nodiscard]] std::string name(char kind, const StageOp& op) const;
  [[nodiscard]] const Slot& occupied(const StageOp& op, Progress progress) const;
  void compute_forward(const StageOp& op, std::span<const std::byte> input,
                       std::span<std::byte> output);
  void compute_input(const StageOp& op, std::span<const std::byte> output_gradient,
                     std::span<std::byte> input_gradient);
  void compute_weight(const StageOp& op, std::span<float> gradient);

  ToyModel model_;
  int stage_;
  std::vector<float> parameters_;
  std::vector<Slot> slots_;
  std::vector<double> losses_;  // [microbatch], last stage; NaN where no forward has run
};

// `model` is copied.
[[nodiscard]] StageFactory toy_factory(const ToyModel& model);

}  // namespace dualpipe
