// Stage: one pipeline stage of a model, written by the trainer and called by the executor. The
// executor owns order, communication, buffers and the summing of gradients; a stage owns its
// parameters, its optimizer state and what a forward must remember for its backward.
//
// A rank makes one Stage object for each (direction, stage) it holds. With two directions the same
// stage exists on two ranks; both must start from equal parameters, and both apply equal gradients.
//
// Calls on one object come from one thread at a time: its rank's. A stage that computes on a GPU is
// made for a CudaDevice and asks for all its work in order of that device's compute stream.

#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

namespace dualpipe {

// Which call this is.
struct StageOp {
  std::uint64_t step = 0;
  int microbatch = 0;
  // Which of the stage's activation slots this microbatch occupies, from its forward to the end of
  // its backward; unique among the microbatches alive, less than what allocate() was told.
  int slot = 0;
};

class Stage {
 public:
  virtual ~Stage() = default;

  // Sizes of the boundaries in bytes: what arrives from the stage before (0 at the first stage) and
  // what goes to the stage after (0 at the last). Gradients have the same sizes.
  [[nodiscard]] virtual std::size_t input_bytes() const = 0;
  [[nodiscard]] virtual std::size_t output_bytes() const = 0;
  // Elements of the gradient, float32.
  [[nodiscard]] virtual std::size_t parameter_count() const = 0;
  // Bytes that one occupied slot takes, for the memory report.
  [[nodiscard]] virtual std::int64_t activation_bytes() const = 0;

  // Called once, before the first step. All memory of a step is to be allocated here.
  virtual void allocate(int activation_slots) = 0;

  // Buffers are memory of the rank's device, aligned to 64 bytes. On the cpu they are valid only
  // during the call; on a device with a queue a call asks for its work there, and the buffers are
  // valid for what it asked for.
  virtual void forward(const StageOp& op, std::span<const std::byte> input,
                       std::span<std::byte> output) = 0;
  // Last stage only: the loss of a microbatch, already divided by the number of microbatches. Asked
  // for after all work of the step is done, for each microbatch whose forward ran here.
  [[nodiscard]] virtual double loss(int microbatch) const = 0;
  // The input half: the gradient of the input from the gradient of the output (empty at the last
  // stage, which starts from its loss; `input_gradient` is empty at the first).
  virtual void backward_input(const StageOp& op, std::span<const std::byte> output_gradient,
                              std::span<std::byte> input_gradient) = 0;
  // The weight half; comes after this microbatch's backward_input, perhaps much later. Overwrites
  // all of `gradient` (parameter_count() elements) with this microbatch's share; the executor adds.
  // The bits written must depend only on the microbatch and the parameters, not on the order of
  // calls.
  virtual void backward_weight(const StageOp& op, std::span<float> gradient) = 0;

  // One optimizer step with the whole gradient of the step, summed over microbatches and replicas.
  virtual void apply_gradient(std::span<const float> gradient) = 0;

  // All that the next step depends on, beside its number: parameters and the optimizer's state.
  // Bytes for this host's memory, asked for between steps; restore() takes what save() gave, of an
  // object that was made the same way, and throws Error (input_output) when it is something else.
  // The default throws Error (usage): this stage cannot be saved.
  [[nodiscard]] virtual std::vector<std::byte> save() const;
  virtual void restore(std::span<const std::byte> state);

  struct ForwardCall {
    StageOp op;
    std::span<const std::byte> input;
    std::span<std::byte> output;
  };
  struct BackwardCall {
    StageOp op;
    std::span<const std::byte> output_gradient;
    std::span<std::byte> input_gradient;
    std::span<float> gradient;
  };
  // A full backward. Default: the input half, then the weight half.
  virtual void backward(const BackwardCall& call);
  // A forward of this stage overlapped with a full backward of `other` (perhaps this stage itself).
  // Default: one after the other.
  virtual void forward_overlapped(const ForwardCall& forward, Stage& other,
                                  const BackwardCall& backward);
};

// Makes the Stage object of a stage; called on the rank's own thread, once per (direction, stage).
// Equal stages must come out equal wherever they are made.
using StageFactory = std::function<std::unique_ptr<Stage>(int stage)>;

}  // namespace dualpipe
