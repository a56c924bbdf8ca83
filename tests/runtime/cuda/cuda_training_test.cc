// The models trained on GPUs by the executor: schedules whose pairs overlap, whose backwards are
// halves, whose stages live twice. Equal bits with and without a pipeline, and the host's losses.

#include <cstddef>
#include <exception>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "runtime/cuda/cuda_device.h"
#include "runtime/cuda/cuda_inproc_transport.h"
#include "runtime/cuda/cuda_math.h"
#include "runtime/device.h"
#include "runtime/inproc_transport.h"
#include "runtime/models/cpu_math.h"
#include "runtime/models/math.h"
#include "runtime/models/model.h"
#include "runtime/train.h"
#include "runtime/transport.h"
#include "scheduler/compile.h"
#include "scheduler/generate.h"
#include "scheduler/program.h"
#include "tests/support/needs_gpu.h"

namespace dualpipe {
namespace {

constexpr int ranks = 2;
constexpr int microbatches = 4;

class CudaTraining : public NeedsGpu {};

ModelOptions small(const Program& program) {
  ModelOptions options;
  options.stages = program.pipeline().stages();
  options.microbatches = microbatches;
  options.layers = options.stages;
  options.width = 8;
  options.sequence_length = 3;
  options.microbatch_size = 1;
  options.text = "the quick brown fox jumps over it";
  return options;
}

std::unique_ptr<Math> math_for(Device& device) {
  if (auto* const cuda = dynamic_cast<CudaDevice*>(&device)) {
    return make_cuda_math(*cuda);
  }
  return std::make_unique<CpuMath>(device);
}

// Rank 0's report of two steps.
TrainReport report_of(const Program& program, std::string_view model,
                      const std::vector<std::unique_ptr<Transport>>& transports) {
  TrainReport first;
  std::vector<std::jthread> threads;
  for (const std::unique_ptr<Transport>& transport : transports) {
    threads.emplace_back([&] {
      try {
        const std::unique_ptr<Math> math = math_for(transport->device());
        TrainOptions options;
        options.steps = 2;
        options.verify = true;
        TrainReport report =
            train(program, *transport, find_model(model).make(small(program), *math), options);
        if (transport->rank() == 0) {
          first = std::move(report);
        }
      } catch (const std::exception& error) {
        ADD_FAILURE() << "rank " << transport->rank() << ": " << error.what();
      }
    });
  }
  threads.clear();
  return first;
}

void expect_trains(std::string_view family, std::string_view model) {
  const Program program = compile_or_throw(
      generate(find_family(family), {.ranks = ranks, .microbatches = microbatches}));
  const TrainReport found = report_of(program, model, make_cuda_inproc_transports(ranks));
  const TrainReport expected = report_of(program, model, make_inproc_transports(ranks));
  EXPECT_EQ(found.max_gradient_difference, 0.0);
  ASSERT_EQ(found.loss.size(), expected.loss.size());
  for (std::size_t step = 0; step < expected.loss.size(); ++step) {
    EXPECT_NEAR(found.loss[step], expected.loss[step], 1e-5 * expected.loss[step]) << step;
  }
}

TEST_F(CudaTraining, TheLanguageModelWithOverlappedPairs) {
  expect_trains("dualpipe", "gpt");
}

TEST_F(CudaTraining, TheLanguageModelWithSplitBackwards) {
  expect_trains("zb-h1", "gpt");
}

TEST_F(CudaTraining, TheMlp) {
  expect_trains("dualpipe", "mlp");
  expect_trains("1f1b", "mlp");
}

}  // namespace
}  // namespace dualpipe
