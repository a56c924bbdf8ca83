#include "runtime/plain_run.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/error.h"
#include "runtime/cpu_device.h"
#include "runtime/stage.h"
#include "tests/support/refusal.h"
#include "tests/support/toy_stage.h"

namespace dualpipe {
namespace {

using testing::AllOf;
using testing::ElementsAreArray;
using testing::HasSubstr;
using testing::Not;

struct Expected {
  std::vector<std::vector<float>> gradient;  // [stage]
  double loss = 0.0;
};

// The step as anyone would write it, stage by stage by hand; the sum of the gradients in the order
// of microbatches within each half.
Expected by_hand(const ToyModel& model, std::uint64_t step, std::vector<ToyStage*> stages) {
  Expected expected;
  const std::vector<float> zeros(ToyStage::width, 0.0F);
  std::vector<std::vector<float>> half[2];
  for (auto& one : half) {
    one.assign(stages.size(), zeros);
  }
  alignas(64) std::byte boundary[2][64] = {};
  const auto part = [](std::byte* bytes, std::size_t size) { return std::span(bytes, size); };
  for (int microbatch = 0; microbatch < model.microbatches; ++microbatch) {
    const StageOp op{.step = step, .microbatch = microbatch, .slot = 0};
    for (std::size_t s = 0; s < stages.size(); ++s) {
      stages[s]->forward(op, part(boundary[s % 2], stages[s]->input_bytes()),
                         part(boundary[(s + 1) % 2], stages[s]->output_bytes()));
    }
    expected.loss += stages.back()->loss(op.microbatch);
    for (std::size_t s = stages.size(); s-- > 0;) {
      std::vector<float> gradient(ToyStage::width);
      stages[s]->backward(
          {.op = op,
           .output_gradient = part(boundary[(s + 1) % 2], stages[s]->output_bytes()),
           .input_gradient = part(boundary[s % 2], stages[s]->input_bytes()),
           .gradient = gradient});
      for (std::size_t i = 0; i < gradient.size(); ++i) {
        half[microbatch < model.microbatches / 2 ? 0 : 1][s][i] += gradient[i];
      }
    }
  }
  expected.gradient.assign(stages.size(), zeros);
  for (std::size_t s = 0; s < stages.size(); ++s) {
    for (std::size_t i = 0; i < zeros.size(); ++i) {
      expected.gradient[s][i] = half[0][s][i] + half[1][s][i];
    }
  }
  return expected;
}

TEST(PlainRun, ComputesEveryStagesGradientAndTheLoss) {
  for (const int count : {1, 2, 3}) {
    const ToyModel model{.stages = count, .microbatches = 5, .before = {}};
    CpuDevice device;
    PlainRun plain(device, toy_factory(model), count, model.microbatches);
    std::vector<std::unique_ptr<ToyStage>> owned;
    std::vector<ToyStage*> stages;
    for (int stage = 0; stage < count; ++stage) {
      stages.push_back(owned.emplace_back(std::make_unique<ToyStage>(model, stage)).get());
      stages.back()->allocate(1);
    }
    for (std::uint64_t step = 0; step < 3; ++step) {
      const Expected expected = by_hand(model, step, stages);
      plain.run(step);
      EXPECT_EQ(plain.loss(), expected.loss);
      for (int stage = 0; stage < count; ++stage) {
        const std::size_t at = static_cast<std::size_t>(stage);
        EXPECT_THAT(plain.gradient(stage), ElementsAreArray(expected.gradient[at]));
        stages[at]->apply_gradient(expected.gradient[at]);
      }
      plain.apply_gradients();
    }
  }
}

TEST(PlainRun, ChangesNoParameterBeforeItIsTold) {
  const ToyModel model{.stages = 2, .microbatches = 3, .before = {}};
  CpuDevice device;
  PlainRun plain(device, toy_factory(model), 2, 3);
  plain.run(0);
  const std::vector<float> first(plain.gradient(0).begin(), plain.gradient(0).end());
  plain.run(0);
  EXPECT_THAT(plain.gradient(0), ElementsAreArray(first));
  plain.apply_gradients();
  plain.run(0);
  EXPECT_THAT(plain.gradient(0), Not(ElementsAreArray(first)));
}

TEST(PlainRun, NamesTheCallThatFails) {
  ToyModel model{.stages = 2, .microbatches = 2, .before = {}};
  for (const std::string bad : {"1F1", "0I0", "1W1", "optimizer of stage 1"}) {
    model.before = [&](const std::string& call) {
      if (call == bad) {
        throw std::runtime_error("out of ideas");
      }
    };
    CpuDevice device;
    PlainRun plain(device, toy_factory(model), 2, 2);
    EXPECT_THAT(
        refusal(ExitCode::callback,
                [&] {
                  plain.run(3);
                  plain.apply_gradients();
                  return 0;
                }),
        AllOf(HasSubstr("step 3, without a pipeline: "), HasSubstr(bad + " failed: out of ideas")));
  }
}

TEST(PlainRun, RefusesNeighboursThatDisagreeAboutTheirBoundary) {
  // Each stage takes itself for the only one, so the first gives nothing to the second.
  const StageFactory each_alone = [](int stage) {
    return std::make_unique<ToyStage>(
        ToyModel{.stages = stage + 1, .microbatches = 1, .before = {}}, stage);
  };
  EXPECT_THAT(refusal(ExitCode::usage,
                      [&] {
                        CpuDevice device;
                        return PlainRun(device, each_alone, 2, 1).gradient(0).size();
                      }),
              AllOf(HasSubstr("stage 0 gives 0 bytes"), HasSubstr("stage 1 takes 20")));
}

}  // namespace
}  // namespace dualpipe
