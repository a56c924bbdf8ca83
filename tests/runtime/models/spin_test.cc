#include "runtime/models/spin.h"

#include <array>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include "costs/cost_model.h"
#include "costs/error.h"
#include "runtime/models/model.h"
#include "runtime/stage.h"
#include "tests/support/host_math.h"

namespace dualpipe {
namespace {

using std::chrono::milliseconds;
using testing::AllOf;
using testing::HasSubstr;

constexpr std::size_t message_bytes = 64;
using MessageBytes = std::array<std::byte, message_bytes>;

StageCosts costs(int scale) {
  return {.forward = milliseconds(2 * scale),
          .backward_input = milliseconds(3 * scale),
          .backward_weight = milliseconds(5 * scale),
          .overlapped = milliseconds(8 * scale),
          .bytes = {.activation = 77}};
}

ModelOptions options_for(int stages, const std::vector<StageCosts>& stage_costs) {
  ModelOptions options;
  options.stages = stages;
  options.costs.stages = stage_costs;
  return options;
}

// Three stages, the last of which is twice as slow, and what passes between them.
struct Pipeline {
  std::unique_ptr<Stage> first;
  std::unique_ptr<Stage> middle;
  std::unique_ptr<Stage> last;
  MessageBytes to_middle{};
  MessageBytes to_last{};
  MessageBytes gradient_to_middle{};
  MessageBytes gradient_to_first{};

  Pipeline() {
    const StageFactory factory =
        make_spin(options_for(3, {costs(1), costs(1), costs(2)}), host_math());
    first = factory(0);
    middle = factory(1);
    last = factory(2);
    for (Stage* stage : {first.get(), middle.get(), last.get()}) {
      stage->allocate(2);
    }
  }
  void forward(const StageOp& op) {
    first->forward(op, {}, to_middle);
    middle->forward(op, to_middle, to_last);
    last->forward(op, to_last, {});
  }
  void backward_input(const StageOp& op) {
    last->backward_input(op, {}, gradient_to_middle);
    middle->backward_input(op, gradient_to_middle, gradient_to_first);
    first->backward_input(op, gradient_to_first, {});
  }
};

Time time_of(const std::function<void()>& call) {
  const auto begin = std::chrono::steady_clock::now();
  call();
  return std::chrono::steady_clock::now() - begin;
}

std::string wrong_message(const std::function<void()>& call) {
  try {
    call();
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return "";
}

constexpr StageOp op{.step = 3, .microbatch = 6, .slot = 0};

TEST(Spin, BoundariesAreSmallMessagesAndThereIsNothingToLearn) {
  const Pipeline pipeline;
  EXPECT_EQ(pipeline.first->input_bytes(), 0U);
  EXPECT_EQ(pipeline.first->output_bytes(), message_bytes);
  EXPECT_EQ(pipeline.middle->input_bytes(), message_bytes);
  EXPECT_EQ(pipeline.last->output_bytes(), 0U);
  EXPECT_EQ(pipeline.middle->parameter_count(), 0U);
  EXPECT_EQ(pipeline.middle->activation_bytes(), 77);
  EXPECT_EQ(pipeline.last->loss(6), 0.0);
  EXPECT_NO_THROW(pipeline.middle->apply_gradient({}));
}

// No upper bounds: a busy machine may wake a sleeper as late as it likes. What one call oversleeps
// is taken off the next of the same stage, so it is sums of calls that never fall short.
TEST(Spin, CallsTakeAtLeastTheirModelledTimeInAll) {
  Pipeline pipeline;
  Stage& last = *pipeline.last;
  // The last stage's forward takes 4 ms and the middle one's backward 8; each stage brings half of
  // what overlapping it with itself saves, 4 and 2: 12 - 3 = 9 ms.
  const auto overlapped = [&] {
    last.forward_overlapped({.op = op, .input = pipeline.to_last, .output = {}}, *pipeline.middle,
                            {.op = op,
                             .output_gradient = pipeline.gradient_to_middle,
                             .input_gradient = pipeline.gradient_to_first,
                             .gradient = {}});
  };
  const auto whole = [&] {
    last.backward({.op = op,
                   .output_gradient = {},
                   .input_gradient = pipeline.gradient_to_middle,
                   .gradient = {}});
  };
  milliseconds modelled(2 + 2 + 4);
  Time taken = time_of([&] { pipeline.forward(op); });
  EXPECT_GE(taken, modelled);
  const auto add = [&](const std::function<void()>& call, milliseconds time) {
    taken += time_of(call);
    modelled += time;
    EXPECT_GE(taken, modelled);
  };
  add([&] { pipeline.backward_input(op); }, milliseconds(6 + 3 + 3));
  add([&] { last.backward_weight(op, {}); }, milliseconds(10));
  add(whole, milliseconds(16));
  add(overlapped, milliseconds(9));
}

// A thread that sleeps gives the processor away of its own accord; one that spins never does.
TEST(Spin, SleepsInsteadOfUsingTheProcessor) {
  Pipeline pipeline;
  // Declared in a header that is not for inclusion. NOLINTBEGIN(misc-include-cleaner)
  rusage before{};
  rusage after{};
  // NOLINTEND(misc-include-cleaner)
  ASSERT_EQ(::getrusage(RUSAGE_THREAD, &before), 0);
  pipeline.forward(op);  // Three stages, one sleep each.
  ASSERT_EQ(::getrusage(RUSAGE_THREAD, &after), 0);
  EXPECT_GE(after.ru_nvcsw - before.ru_nvcsw, 3);
}

TEST(Spin, AMessageOfAnotherMicrobatchStageStepOrKindIsFound) {
  Pipeline pipeline;
  pipeline.forward(op);
  StageOp other = op;
  other.microbatch = 7;
  EXPECT_THAT(wrong_message([&] { pipeline.last->forward(other, pipeline.to_last, {}); }),
              AllOf(HasSubstr("expected activation of stage 1, microbatch 7, step 3"),
                    HasSubstr("found activation of stage 1, microbatch 6, step 3")));
  EXPECT_THAT(wrong_message([&] { pipeline.last->forward(op, pipeline.to_middle, {}); }),
              HasSubstr("found activation of stage 0, microbatch 6"));
  other = op;
  other.step = 4;
  EXPECT_THAT(wrong_message([&] { pipeline.last->forward(other, pipeline.to_last, {}); }),
              HasSubstr("expected activation of stage 1, microbatch 6, step 4"));
  pipeline.backward_input(op);
  EXPECT_THAT(wrong_message([&] { pipeline.last->forward(op, pipeline.gradient_to_first, {}); }),
              HasSubstr("found gradient of stage 1, microbatch 6"));
  EXPECT_THAT(wrong_message([&] { pipeline.first->backward_input(op, pipeline.to_middle, {}); }),
              HasSubstr("expected gradient of stage 1, microbatch 6"));
}

TEST(Spin, ASpoiltMessageIsFound) {
  Pipeline pipeline;
  pipeline.forward(op);
  for (std::size_t byte = 0; byte < message_bytes; byte += 7) {
    MessageBytes spoilt = pipeline.to_middle;
    spoilt[byte] ^= std::byte{1};
    EXPECT_THROW(pipeline.middle->forward(op, spoilt, pipeline.to_last), std::runtime_error)
        << byte;
  }
}

TEST(Spin, RefusesCostsOfAnotherPipeline) {
  try {
    static_cast<void>(make_spin(options_for(3, {costs(1)}), host_math()));
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::usage);
    EXPECT_THAT(error.what(), HasSubstr("expected the costs of 3 stages, found those of 1"));
  }
}

}  // namespace
}  // namespace dualpipe
