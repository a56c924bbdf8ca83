#include "runtime/executor.h"

#include <atomic>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/cost_model.h"
#include "costs/error.h"
#include "runtime/cpu_device.h"
#include "runtime/held_stage.h"
#include "runtime/inproc_transport.h"
#include "runtime/plain_run.h"
#include "runtime/rank_plan.h"
#include "runtime/stage.h"
#include "runtime/step_marks.h"
#include "runtime/transport.h"
#include "scheduler/compile.h"
#include "scheduler/generate.h"
#include "scheduler/pipeline.h"
#include "scheduler/program.h"
#include "scheduler/schedule.h"
#include "tests/support/all_ranks.h"
#include "tests/support/refusal.h"
#include "tests/support/schedules.h"
#include "tests/support/toy_stage.h"

namespace dualpipe {
namespace {

using testing::AllOf;
using testing::ElementsAreArray;
using testing::HasSubstr;

bool same_bits(std::span<const float> one, std::span<const float> other) {
  return one.size() == other.size() && std::memcmp(one.data(), other.data(), one.size_bytes()) == 0;
}

// Three steps with the optimizer between them, pipelined and plain: gradients and losses to the
// bit.
void expect_equal_to_plain_run(const Program& program) {
  const Pipeline& pipeline = program.pipeline();
  const ToyModel model = model_of(pipeline);
  CpuDevice device;
  PlainRun plain(device, toy_factory(model), pipeline.stages(), pipeline.microbatches());
  std::vector<std::vector<std::vector<float>>> expected;  // [step][stage]
  std::vector<double> expected_loss;
  for (std::uint64_t step = 0; step < 3; ++step) {
    plain.run(step);
    std::vector<std::vector<float>>& gradients = expected.emplace_back();
    for (int stage = 0; stage < pipeline.stages(); ++stage) {
      gradients.emplace_back(plain.gradient(stage).begin(), plain.gradient(stage).end());
    }
    expected_loss.push_back(plain.loss());
    plain.apply_gradients();
  }
  std::mutex mutex;
  std::vector<std::vector<double>> losses(
      expected.size(), std::vector<double>(static_cast<std::size_t>(pipeline.microbatches())));
  expect_success_on_all_ranks(pipeline.ranks(), [&](Transport& transport) {
    Executor executor(program, transport, toy_factory(model), {});
    for (std::size_t step = 0; step < expected.size(); ++step) {
      const RankStep& done = executor.run(step);
      executor.reduce_replicas();
      for (const HeldStage& held : executor.stages()) {
        EXPECT_TRUE(same_bits(held.gradient, expected[step][static_cast<std::size_t>(held.stage)]))
            << "step " << step << ", rank " << transport.rank() << ", stage " << held.stage;
      }
      executor.apply_gradients();
      const std::scoped_lock lock(mutex);
      for (std::size_t microbatch = 0; microbatch < done.loss.size(); ++microbatch) {
        losses[step][microbatch] += done.loss[microbatch];
      }
    }
  });
  for (std::size_t step = 0; step < expected.size(); ++step) {
    double sum = 0.0;
    for (const double loss : losses[step]) {
      sum += loss;
    }
    EXPECT_TRUE(std::isfinite(sum));
    EXPECT_EQ(sum, expected_loss[step]) << "step " << step;
  }
}

TEST(Executor, EveryFamilysGradientsAreThePlainRunsToTheBit) {
  for (const Family* family : families()) {
    for (const Shape& shape :
         supported_shapes(*family, {.ranks = 4, .microbatches = 12, .chunks = 3})) {
      if (shape.microbatches % 3 == 0 || shape.microbatches == 2 * shape.ranks) {
        SCOPED_TRACE(to_string(*family, shape));
        expect_equal_to_plain_run(compile_or_throw(quickly_generated(*family, shape), eager));
      }
    }
  }
}

TEST(Executor, GradientsDoNotDependOnHowTheTransportBuffers) {
  const Schedule schedule = generate(find_family("dualpipe"), {.ranks = 4, .microbatches = 8});
  for (const int receives_ahead : {0, 1, 3}) {
    for (const int send_slots : {1, 2, 4}) {
      SCOPED_TRACE(testing::Message() << receives_ahead << " ahead, " << send_slots << " slots");
      expect_equal_to_plain_run(
          compile_or_throw(schedule, {.receives_ahead = receives_ahead, .send_slots = send_slots}));
    }
  }
}

// The reference's own groups hold sends back and ask for receives early: more buffers, same bits.
TEST(Executor, RunsTheReferencesGroupedOrder) {
  for (const char* name : {"dualpipe", "dualpipev"}) {
    SCOPED_TRACE(name);
    expect_equal_to_plain_run(
        reference_program(find_family(name), {.ranks = 4, .microbatches = 10}));
  }
}

// PyTorch's own table, of which the backwards go through the microbatches in reverse.
TEST(Executor, BackwardsInReverseOrderGiveTheSameBits) {
  expect_equal_to_plain_run(
      compile_or_throw(written(golden("pytorch/LoopedBFS_pp2_mb4_spr2_compute.csv"))));
}

TEST(Executor, BackwardsInAnyOrderGiveTheSameBits) {
  expect_equal_to_plain_run(
      compile_or_throw(written("0F0 0F1 0F2 0F3 0F4 0F5 0B1 0I4 0B0 0B3 0B5 0W4 0B2\n"
                               "1F0 1F1 1F2 1F3 1F4 1F5 1B1 1I4 1I0 1B3 1I5 1W5 1B2 1W0 1W4\n")));
}

// Three ranks, two directions: the middle rank holds the middle stage for both.
TEST(Executor, OddNumbersOfRanksWorkInTwoDirections) {
  expect_equal_to_plain_run(
      compile_or_throw(written(R"({"schema_version":1,"name":"odd","stages":3,"microbatches":4,)"
                               R"("placement":[[0,1,2],[2,1,0]],"direction":[0,0,1,1],"ranks":[)"
                               R"("0F0,0F1,2F2,2B2,2F3,2B3,0B0,0B1",)"
                               R"("1F0,1F2,1F1,1F3,1B0,1B2,1B1,1B3",)"
                               R"("0F2,0F3,2F0,2B0,2F1,2B1,0B2,0B3"]})")));
}

// A replica that no microbatch visits still gets the whole gradient, at every step.
TEST(Executor, AReplicaWithoutMicrobatchesGetsTheOthersGradient) {
  expect_equal_to_plain_run(compile_or_throw(
      written("placement: 0 1 | 1 0\ndirection: 0*2\n0F0 0F1 0B0 0B1\n1F0 1B0 1F1 1B1\n")));
}

TEST(Executor, CallsTheStagesInTheOrderOfTheSchedule) {
  for (const char* family : {"dualpipe", "dualpipev", "1f1b"}) {
    const Program program =
        compile_or_throw(generate(find_family(family), {.ranks = 2, .microbatches = 6}));
    expect_success_on_all_ranks(2, [&](Transport& transport) {
      std::vector<std::string> calls;
      ToyModel model = model_of(program.pipeline());
      model.before = [&](const std::string& call) {
        if (!call.starts_with("loss")) {
          calls.push_back(call);
        }
      };
      Executor executor(program, transport, toy_factory(model), {});
      const RankStep& done = executor.run(0);
      std::vector<std::string> expected;
      for (const Slot& slot : program.slots(transport.rank())) {
        expected.push_back(to_string(slot));
      }
      EXPECT_THAT(calls, ElementsAreArray(expected)) << family << ", rank " << transport.rank();
      ASSERT_EQ(done.spans.size(), expected.size());
    });
  }
}

TEST(Executor, RecordsEverySlotAndBothEndsOfEveryMessage) {
  const Program program =
      compile_or_throw(generate(find_family("1f1b"), {.ranks = 3, .microbatches = 4}));
  expect_success_on_all_ranks(3, [&](Transport& transport) {
    Executor executor(program, transport, toy_factory(model_of(program.pipeline())), {});
    const RankStep& done = executor.run(0);
    Time clock{};
    for (std::size_t slot = 0; slot < done.spans.size(); ++slot) {
      EXPECT_EQ(done.spans[slot].slot, program.slots(transport.rank())[slot]);
      EXPECT_LE(clock, done.spans[slot].begin);
      EXPECT_LE(done.spans[slot].begin, done.spans[slot].end);
      clock = done.spans[slot].end;
    }
    const std::size_t neighbours = transport.rank() == 1 ? 2 : 1;
    EXPECT_EQ(done.sent.size(), 4 * neighbours);
    EXPECT_EQ(done.received.size(), 4 * neighbours);
    for (const MessageTime& sent : done.sent) {
      EXPECT_EQ(program.channel_of(program.message(sent.message)).source, transport.rank());
      EXPECT_GE(sent.time, done.begin);
    }
    for (const MessageTime& received : done.received) {
      EXPECT_EQ(program.channel_of(program.message(received.message)).destination,
                transport.rank());
    }
  });
}

TEST(Executor, NeedsBuffersOnlyWhereThereAreMessages) {
  const Program alone =
      compile_or_throw(generate(find_family("gpipe"), {.ranks = 1, .microbatches = 2}));
  expect_success_on_all_ranks(1, [&](Transport& transport) {
    const Executor executor(alone, transport, toy_factory(model_of(alone.pipeline())), {});
    const std::size_t without = executor.message_bytes();
    const Program two =
        compile_or_throw(generate(find_family("gpipe"), {.ranks = 2, .microbatches = 2}));
    std::vector<std::unique_ptr<Transport>> pair = make_inproc_transports(2);
    const Executor first(two, *pair[0], toy_factory(model_of(two.pipeline())), {});
    // One send buffer and two receive buffers, each with a header and room for 20 bytes.
    EXPECT_GE(first.message_bytes(), without + 3UL * (64 + 20));
  });
}

// --- a loop of one's own: no train() sees to failures ---

Program one_f_one_b() {
  return compile_or_throw(generate(find_family("1f1b"), {.ranks = 2, .microbatches = 4}));
}

void run_one_step(const Program& program, Transport& transport, const StageFactory& make_stage) {
  Executor executor(program, transport, make_stage, {.op_timeout = std::chrono::seconds(20)});
  executor.run(0);
}

void expect_the_job_to_end(const std::vector<RankEnd>& ends, const std::string& words) {
  EXPECT_EQ(ends[1].code, ExitCode::callback);
  EXPECT_THAT(ends[1].message, HasSubstr(words));
  EXPECT_EQ(ends[0].code, ends[1].code);
  EXPECT_EQ(ends[0].message, ends[1].message);
}

TEST(ExecutorAlone, EndsTheJobBeforeItsBuffersGo) {
  const Program program = one_f_one_b();
  std::atomic<bool> gone{false};
  ToyModel model = model_of(program.pipeline());
  model.before = [&](const std::string& call) {
    if (call == "1F0") {
      throw std::runtime_error("out of ideas");
    }
    while (call == "0F1" && !gone.load()) {  // whose output goes to the rank that has failed
      std::this_thread::yield();
    }
  };
  const auto ends = on_all_ranks(2, [&](Transport& transport) {
    try {
      run_one_step(program, transport, toy_factory(model));
    } catch (const Error&) {  // Here the executor is gone, and its buffers with it.
      gone.store(true);
      throw;
    }
  });
  expect_the_job_to_end(ends, "rank 1, step 0: 1F0 failed: out of ideas");
}

TEST(ExecutorAlone, EndsTheJobForWhateverIsThrown) {
  const Program program = one_f_one_b();
  ToyModel model = model_of(program.pipeline());
  model.before = [&](const std::string& call) {
    if (call == "1B0") {
      throw 42;
    }
  };
  expect_the_job_to_end(
      on_all_ranks(
          2, [&](Transport& transport) { run_one_step(program, transport, toy_factory(model)); }),
      "something that is no std::exception was thrown while the rank is inside");
}

TEST(ExecutorAlone, EndsTheJobWhenAStageCannotBeMade) {
  const Program program = one_f_one_b();
  const StageFactory toys = toy_factory(model_of(program.pipeline()));
  const StageFactory make_stage = [&](int stage) {
    return stage == 1 ? throw std::runtime_error("no memory for weights") : toys(stage);
  };
  expect_the_job_to_end(
      on_all_ranks(2, [&](Transport& transport) { run_one_step(program, transport, make_stage); }),
      "rank 1: making stage 1 failed: no memory for weights");
}

TEST(ExecutorAlone, EndsTheJobWhenALossCannotBeTold) {
  const Program program = one_f_one_b();
  ToyModel model = model_of(program.pipeline());
  model.before = [](const std::string& call) {
    if (call == "loss of microbatch 2") {
      throw std::runtime_error("not known");
    }
  };
  const auto ends = on_all_ranks(2, [&](Transport& transport) {
    Executor executor(program, transport, toy_factory(model), {});
    executor.run(0);
    std::vector<std::byte> buffer(8);
    static_cast<void>(transport.wait(transport.post_receive(1, MessageClass::control, buffer),
                                     std::chrono::steady_clock::now() + std::chrono::minutes(1)));
  });
  expect_the_job_to_end(ends, "rank 1, step 0: the loss of microbatch 2 failed: not known");
}

// The first rank is the last to be done with a step.
TEST(ExecutorAlone, NoRankAppliesAStepThatHasFailedOnAnother) {
  const Program program = one_f_one_b();
  std::atomic<int> optimizers{0};
  ToyModel model = model_of(program.pipeline());
  model.before = [&](const std::string& call) {
    if (call == "0B3") {
      throw std::runtime_error("out of ideas");
    }
    optimizers += call.starts_with("optimizer") ? 1 : 0;
  };
  const auto ends = on_all_ranks(2, [&](Transport& transport) {
    Executor executor(program, transport, toy_factory(model), {});
    executor.run(0);
    executor.reduce_replicas();
    executor.await_all_ranks();
    executor.apply_gradients();
  });
  expect_the_job_to_end(ends, "rank 0, step 0: 0B3 failed: out of ideas");
  EXPECT_EQ(optimizers, 0);
}

TEST(Executor, RefusesATransportOfAnotherSize) {
  const Program program =
      compile_or_throw(generate(find_family("gpipe"), {.ranks = 2, .microbatches = 2}));
  const std::vector<std::unique_ptr<Transport>> transports = make_inproc_transports(3);
  EXPECT_THAT(refusal(ExitCode::usage,
                      [&] {
                        return Executor(program, *transports[0],
                                        toy_factory(model_of(program.pipeline())), {})
                            .message_bytes();
                      }),
              AllOf(HasSubstr("for 2 ranks"), HasSubstr("'inproc' has 3")));
}

// A rank inside a bidirectional pipeline sends on four channels.
TEST(Executor, RefusesMoreSendsUnderWayThanATransportHolds) {
  const Schedule schedule = generate(find_family("dualpipe"), {.ranks = 4, .microbatches = 2080});
  const Program program = compile_or_throw(schedule, {.send_slots = 1030});
  const auto transports = make_inproc_transports(4);
  const std::string words = refusal(ExitCode::usage, [&] {
    return Executor(program, *transports[1], toy_factory(model_of(program.pipeline())), {})
        .message_bytes();
  });
  EXPECT_THAT(words, AllOf(HasSubstr("rank 1 would have "), HasSubstr("a transport holds 4096: ")));
  const std::string before = "use at most ";
  const int enough = std::stoi(words.substr(words.find(before) + before.size()));
  const auto under_way = [&](int send_slots) {
    return under_way_max(compile_or_throw(schedule, {.send_slots = send_slots}), 1, send_slots);
  };
  EXPECT_LE(under_way(enough), 4096U);
  EXPECT_GT(under_way(enough + 1), 4096U);
}

TEST(Executor, RefusesStagesThatDisagreeAboutTheirBoundary) {
  const Program program = compile_or_throw(written("0F0 1F0 1B0 0B0\n"));
  const StageFactory each_alone = [](int stage) {
    return std::make_unique<ToyStage>(
        ToyModel{.stages = stage + 1, .microbatches = 1, .before = {}}, stage);
  };
  const std::vector<std::unique_ptr<Transport>> transports = make_inproc_transports(1);
  EXPECT_THAT(
      refusal(ExitCode::usage,
              [&] { return Executor(program, *transports[0], each_alone, {}).message_bytes(); }),
      AllOf(HasSubstr("stage 0 gives 0 bytes"), HasSubstr("stage 1 takes 20")));
}

TEST(Executor, RefusesMoreThanTwoDirections) {
  const Program program = compile_or_throw(
      written("placement: 0 | 0 | 0\ndirection: 0 1 2\n0F0 0F1 0F2 0B0 0B1 0B2\n"));
  const std::vector<std::unique_ptr<Transport>> transports = make_inproc_transports(1);
  EXPECT_THAT(refusal(ExitCode::usage,
                      [&] {
                        return Executor(program, *transports[0],
                                        toy_factory(model_of(program.pipeline())), {})
                            .message_bytes();
                      }),
              HasSubstr("one or two directions"));
}

}  // namespace
}  // namespace dualpipe
