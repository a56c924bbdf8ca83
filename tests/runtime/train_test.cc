#include "runtime/train.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <limits>
#include <memory>
#include <mutex>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/cost_model.h"
#include "costs/error.h"
#include "runtime/checkpoint.h"
#include "runtime/cpu_device.h"
#include "runtime/device.h"
#include "runtime/plain_run.h"
#include "runtime/stage.h"
#include "runtime/status.h"
#include "runtime/transport.h"
#include "scheduler/compile.h"
#include "scheduler/generate.h"
#include "scheduler/program.h"
#include "tests/support/all_ranks.h"
#include "tests/support/schedules.h"
#include "tests/support/toy_stage.h"
#include "tests/support/wrapped_toy.h"
#include "trace/timeline.h"

namespace dualpipe {
namespace {

using testing::AllOf;
using testing::ElementsAreArray;
using testing::HasSubstr;
using testing::IsEmpty;

using std::chrono::milliseconds;
using std::chrono::seconds;

Program program_of(std::string_view family, int ranks, int microbatches) {
  return compile_or_throw(
      generate(find_family(family), {.ranks = ranks, .microbatches = microbatches}));
}

TrainOptions steps(int count, bool verify = false) {
  TrainOptions options;
  options.steps = count;
  options.verify = verify;
  options.op_timeout = seconds(30);
  return options;
}

// Rank 0's report of a run that is expected to succeed; the other ranks' must be empty.
TrainReport report_of(const Program& program, const StageFactory& make_stage,
                      const TrainOptions& options) {
  TrainReport first;
  expect_success_on_all_ranks(program.pipeline().ranks(), [&](Transport& transport) {
    TrainReport report = train(program, transport, make_stage, options);
    if (transport.rank() == 0) {
      first = std::move(report);
    } else {
      EXPECT_THAT(report.loss, IsEmpty());
      EXPECT_THAT(report.step_time, IsEmpty());
      EXPECT_THAT(report.typical.ranks, IsEmpty());
      EXPECT_THAT(report.memory, IsEmpty());
      EXPECT_FALSE(report.max_gradient_difference);
    }
  });
  return first;
}

TEST(Train, LossesAreThoseOfThePlainRunStepByStep) {
  for (const char* family : {"1f1b", "dualpipe", "dualpipev"}) {
    const Program program = program_of(family, 2, 6);
    const ToyModel model = model_of(program.pipeline());
    CpuDevice device;
    PlainRun plain(device, toy_factory(model), model.stages, model.microbatches);
    std::vector<double> expected;
    for (std::uint64_t step = 0; step < 4; ++step) {
      plain.run(step);
      plain.apply_gradients();
      expected.push_back(plain.loss());
    }
    EXPECT_THAT(report_of(program, toy_factory(model), steps(4)).loss, ElementsAreArray(expected))
        << family;
  }
}

TEST(Train, ReportsTheTimesOfEveryStepAndTheTimelineOfTheTypicalOne) {
  const Program program = program_of("dualpipe", 2, 4);
  std::vector<int> seen;
  TrainOptions options = steps(3);
  options.progress = [&](int step, double) { seen.push_back(step); };
  const TrainReport report = report_of(program, toy_factory(model_of(program.pipeline())), options);
  EXPECT_THAT(seen, ElementsAreArray({0, 1, 2}));
  ASSERT_EQ(report.step_time.size(), 3U);
  EXPECT_EQ(report.tail_time.size(), 3U);
  EXPECT_EQ(report.typical_step, report.step_time[1] > report.step_time[2] ? 1U : 2U);
  const Timeline& timeline = report.typical;
  EXPECT_EQ(schedule_of(timeline), program.schedule());
  EXPECT_EQ(report.step_time[report.typical_step], makespan(timeline));
  EXPECT_EQ(timeline.transfers.size(), program.messages().size());
  for (const Transfer& transfer : timeline.transfers) {
    EXPECT_EQ(transfer.bytes, static_cast<std::int64_t>(ToyStage::width * sizeof(float)));
  }
  ASSERT_EQ(timeline.clocks.size(), 2U);
  EXPECT_EQ(timeline.clocks[0], RankClock{});
  // Threads share one clock.
  EXPECT_LE(std::chrono::abs(timeline.clocks[1].offset), timeline.clocks[1].uncertainty + Time(1));
  EXPECT_EQ(report.clock_uncertainty, timeline.clocks[1].uncertainty);
  EXPECT_THAT(timeline.stage_bytes,
              ElementsAreArray({StageBytes{.activation = 100, .weight_operands = 100},
                                StageBytes{.activation = 101, .weight_operands = 101}}));
  EXPECT_EQ(parse_timeline(to_json(timeline), "own"), timeline);
  EXPECT_FALSE(report.max_gradient_difference);
}

TEST(Train, ReportsThePlannedAndTheMeasuredBytesOfEveryRank) {
  const Program program = program_of("gpipe", 2, 3);
  const TrainReport report =
      report_of(program, toy_factory(model_of(program.pipeline())), steps(2));
  ASSERT_EQ(report.memory.size(), 2U);
  for (std::size_t rank = 0; rank < 2; ++rank) {
    EXPECT_EQ(report.memory[rank].planned, report.memory[rank].measured);
    // All three microbatches are alive at once, of 100 bytes at stage 0 and 101 at stage 1.
    EXPECT_GT(report.memory[rank].measured, 3 * (100 + static_cast<std::int64_t>(rank)));
  }
}

TEST(Train, VerifiesThatGradientsAreThePlainRuns) {
  for (const char* family : {"interleaved", "dualpipe"}) {
    const Program program = program_of(family, 2, 4);
    const TrainReport report =
        report_of(program, toy_factory(model_of(program.pipeline())), steps(3, true));
    EXPECT_EQ(report.max_gradient_difference, 0.0) << family;
  }
}

// Rank 0 makes its own stage first and those of the plain run afterwards; the first one lies.
double difference_with_a_first_stage_off_by(float error) {
  const Program program = program_of("1f1b", 2, 2);
  std::atomic<int> first_stages = 0;
  class Lying final : public WrappedToy {
   public:
    Lying(const ToyModel& model, float error) : WrappedToy(model, 0), error_(error) {}
    void backward_weight(const StageOp& op, std::span<float> gradient) override {
      WrappedToy::backward_weight(op, gradient);
      gradient[3] = op.microbatch == 1 ? gradient[3] + error_ : gradient[3];
    }

   private:
    float error_;
  };
  const ToyModel model = model_of(program.pipeline());
  const StageFactory make_stage = [&](int stage) -> std::unique_ptr<Stage> {
    if (stage == 0 && first_stages++ == 0) {
      return std::make_unique<Lying>(model, error);
    }
    return std::make_unique<ToyStage>(model, stage);
  };
  return report_of(program, make_stage, steps(1, true)).max_gradient_difference.value_or(-1.0);
}

TEST(Train, VerificationFindsAWrongGradient) {
  EXPECT_NEAR(difference_with_a_first_stage_off_by(64.0F), 64.0, 0.01);
  EXPECT_EQ(difference_with_a_first_stage_off_by(std::numeric_limits<float>::quiet_NaN()),
            std::numeric_limits<double>::infinity());
}

std::vector<RankEnd> ends_when(const Program& program, const ToyModel& model,
                               const TrainOptions& options) {
  return on_all_ranks(program.pipeline().ranks(), [&](Transport& transport) {
    static_cast<void>(train(program, transport, toy_factory(model), options));
  });
}

TEST(Train, AStageThatThrowsEndsAllRanksNamingTheOp) {
  for (const std::string bad : {"2F1", "1B3", "0F0", "(0F3;3B1)OVERLAP_F_B"}) {
    const Program program =
        program_of(bad.front() == '(' ? "dualpipev" : "1f1b", bad.front() == '(' ? 2 : 4, 4);
    ToyModel model = model_of(program.pipeline());
    model.before = [&](const std::string& call) {
      if (call == bad) {
        throw std::runtime_error("out of ideas");
      }
    };
    for (const RankEnd& end : ends_when(program, model, steps(2))) {
      EXPECT_EQ(end.code, ExitCode::callback);
      EXPECT_THAT(end.message, AllOf(HasSubstr(bad + " failed: out of ideas"), HasSubstr("step 0"),
                                     HasSubstr("rank ")));
    }
  }
}

TEST(Train, AnOptimizerThatThrowsEndsAllRanksNamingItsStage) {
  const Program program = program_of("gpipe", 3, 2);
  ToyModel model = model_of(program.pipeline());
  model.before = [](const std::string& call) {
    if (call == "optimizer of stage 1") {
      throw std::runtime_error("out of ideas");
    }
  };
  for (const RankEnd& end : ends_when(program, model, steps(1))) {
    EXPECT_EQ(end.code, ExitCode::callback);
    EXPECT_THAT(end.message, HasSubstr("the optimizer of stage 1 failed: out of ideas"));
  }
}

// What is called outside a step's slots: the words name it all the same.
TEST(Train, AnyOtherCallThatThrowsEndsAllRanksNamingIt) {
  const Program program = program_of("gpipe", 2, 3);
  struct Case {
    std::string call;
    std::string words;
  };
  for (const Case& one : {Case{"loss of microbatch 1", "rank 1, step 0: the loss of microbatch 1"},
                          Case{"allocate", "allocate() of stage "}}) {
    ToyModel model = model_of(program.pipeline());
    model.before = model.before_others = [&](const std::string& call) {
      if (call == one.call) {
        throw std::runtime_error("out of ideas");
      }
    };
    for (const RankEnd& end : ends_when(program, model, steps(2))) {
      EXPECT_EQ(end.code, ExitCode::callback);
      EXPECT_THAT(end.message, AllOf(HasSubstr(one.words), HasSubstr("failed: out of ideas")));
    }
  }
  TrainOptions options = steps(2);
  options.progress = [](int, double) { throw std::runtime_error("out of ideas"); };
  for (const RankEnd& end : ends_when(program, model_of(program.pipeline()), options)) {
    EXPECT_EQ(end.code, ExitCode::callback);
    EXPECT_THAT(end.message, HasSubstr("step 0: the report of its loss failed: out of ideas"));
  }
}

// The run without a pipeline has stages of its own, on rank 0: here the second one made of stage 1.
TEST(Train, AStageThatFailsWithoutAPipelineIsNamed) {
  const Program program = program_of("gpipe", 2, 3);
  std::atomic<int> forwards = 0;
  ToyModel model = model_of(program.pipeline());
  model.before = [&](const std::string& call) {
    if (call == "1F2" && ++forwards == 2) {
      throw std::runtime_error("out of ideas");
    }
  };
  for (const RankEnd& end : ends_when(program, model, steps(1, true))) {
    EXPECT_EQ(end.code, ExitCode::callback);
    EXPECT_THAT(end.message, HasSubstr("step 0, without a pipeline: 1F2 failed: out of ideas"));
  }
}

// What rank 1 is started with, where rank 0 has steps(3).
std::vector<RankEnd> ends_with_second_rank(const TrainOptions& second) {
  const Program program = program_of("gpipe", 2, 3);
  return on_all_ranks(2, [&](Transport& transport) {
    static_cast<void>(train(program, transport, toy_factory(model_of(program.pipeline())),
                            transport.rank() == 1 ? second : steps(3)));
  });
}

TEST(Train, RanksWithOtherOptionsAreRefusedBeforeTheFirstStep) {
  TrainOptions with_checkpoints = steps(3);
  with_checkpoints.checkpoints = CheckpointOptions{.directory = testing::TempDir()};
  TrainOptions with_build = steps(3);
  with_build.build.add("config", std::string_view("p2p = 2"));
  struct Case {
    TrainOptions second;
    std::string words;
  };
  for (const Case& one : {Case{steps(4), "rank 1 has another number of steps"},
                          Case{steps(3, true), "rank 1 has another choice to verify"},
                          Case{with_checkpoints, "rank 1 has another way of keeping checkpoints"},
                          Case{with_build, "rank 1 has another config"}}) {
    for (const RankEnd& end : ends_with_second_rank(one.second)) {
      EXPECT_EQ(end.code, ExitCode::usage);
      EXPECT_THAT(end.message, HasSubstr(one.words));
    }
  }
}

TEST(Train, RanksOfAnotherRunAreToldApartBeforeAnythingIsOpened) {
  const Program program = program_of("gpipe", 2, 3);
  const std::vector<RankEnd> ends = on_all_ranks(2, [&](Transport& transport) {
    require_same_run(program, transport, steps(transport.rank() == 1 ? 4 : 3));
    static_cast<void>(transport.wait(
        transport.post_receive(1 - transport.rank(), MessageClass::control, {}), Deadline::max()));
  });
  for (const RankEnd& end : ends) {
    EXPECT_EQ(end.code, ExitCode::usage);
    EXPECT_THAT(end.message, HasSubstr("rank 1 has another number of steps"));
  }
}

// The optimizer must not run on any rank in a step that failed on one. The last rank's last op
// fails, which nobody's own part of the step depends on, when all others are through with theirs.
TEST(Train, AFailedStepLeavesTheParametersAsTheyWere) {
  const Program program = compile_or_throw(written("0F0 0I0 0W0\n1F0 1I0 1W0\n2F0 2I0 2W0\n"));
  std::atomic<int> steps_begun = 0;
  std::atomic<int> optimizers = 0;
  std::atomic<const StatusPage*> first_rank = nullptr;
  const auto first_rank_waits_for_the_last = [&] {
    const RankStatus status = first_rank.load()->read();
    return status.activity == Activity::synchronizing && status.index == 2;
  };
  ToyModel model = model_of(program.pipeline());
  model.before = [&](const std::string& call) {
    optimizers += call.starts_with("optimizer") ? 1 : 0;
    if (call == "2W0" && ++steps_begun == 2) {
      const auto deadline = std::chrono::steady_clock::now() + seconds(20);
      while (!first_rank_waits_for_the_last() && std::chrono::steady_clock::now() < deadline) {
        std::this_thread::yield();
      }
      throw std::runtime_error("out of ideas");
    }
  };
  const std::vector<RankEnd> ends = on_all_ranks(3, [&](Transport& transport) {
    if (transport.rank() == 0) {
      first_rank = &transport.status();
    }
    static_cast<void>(train(program, transport, toy_factory(model), steps(3)));
  });
  for (const RankEnd& end : ends) {
    EXPECT_EQ(end.code, ExitCode::callback);
  }
  EXPECT_EQ(optimizers, 3);
}

// Lets one call block until the others have given up, so that no test depends on how long things
// take.
class Gate {
 public:
  void open() {
    const std::scoped_lock lock(mutex_);
    is_open_ = true;
    opened_.notify_all();
  }
  void pass() {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(opened_.wait_for(lock, seconds(60), [&] { return is_open_; }));
  }

 private:
  std::mutex mutex_;
  std::condition_variable opened_;
  bool is_open_ = false;
};

TEST(Train, AStageThatBlocksMakesTheOthersTimeOutNamingItsRank) {
  const Program program = program_of("1f1b", 3, 3);
  Gate gate;
  ToyModel model = model_of(program.pipeline());
  model.before = [&](const std::string& call) {
    if (call == "2F1") {
      gate.pass();
    }
  };
  TrainOptions options = steps(1);
  options.op_timeout = milliseconds(200);
  const auto begin = std::chrono::steady_clock::now();
  const std::vector<RankEnd> ends = on_all_ranks(3, [&](Transport& transport) {
    try {
      static_cast<void>(train(program, transport, toy_factory(model), options));
    } catch (const Error&) {
      gate.open();
      throw;
    }
  });
  EXPECT_LT(std::chrono::steady_clock::now() - begin, seconds(20));
  for (const RankEnd& end : ends) {
    EXPECT_EQ(end.code, ExitCode::timeout);
    EXPECT_THAT(end.message,
                AllOf(HasSubstr("has waited longer than 0.2 s"), HasSubstr("rank 2 is inside 2F1"),
                      HasSubstr("no cycle; suspect rank 2")));
  }
}

// A rank that gives up while receives are posted must keep their memory until it has told the
// others. The last stage's first forward fails; while its rank lets go of the stage, the rank
// before sends the next activation.
TEST(Train, BuffersOutliveTheAbort) {
  const Program program = program_of("gpipe", 2, 4);
  const ToyModel model = model_of(program.pipeline());
  struct {
    Gate leaving;
    Gate sent;
  } gates;
  class Slow final : public WrappedToy {
   public:
    Slow(const ToyModel& toy, Gate& leaving, Gate& sent)
        : WrappedToy(toy, 1), leaving_(leaving), sent_(sent) {}
    Slow(const Slow&) = delete;
    Slow& operator=(const Slow&) = delete;
    ~Slow() override {
      leaving_.open();
      sent_.pass();
    }
    void forward(const StageOp&, std::span<const std::byte>, std::span<std::byte>) override {
      throw std::runtime_error("out of ideas");
    }

   private:
    Gate& leaving_;
    Gate& sent_;
  };
  const std::vector<RankEnd> ends = on_all_ranks(2, [&](Transport& transport) {
    if (transport.rank() == 1) {
      static_cast<void>(train(
          program, transport,
          [&](int) { return std::make_unique<Slow>(model, gates.leaving, gates.sent); }, steps(1)));
      return;
    }
    try {
      ToyModel first = model;
      first.before = [&](const std::string& call) {
        if (call == "0F1") {
          gates.leaving.pass();
        } else if (call == "0F2") {  // The result of 0F1 has arrived.
          gates.sent.open();
        }
      };
      static_cast<void>(train(program, transport, toy_factory(first), steps(1)));
    } catch (const Error&) {
      gates.sent.open();
      throw;
    }
  });
  for (const RankEnd& end : ends) {
    EXPECT_EQ(end.code, ExitCode::callback);
  }
}

TEST(Train, AStageThatCannotBeMadeEndsAllRanks) {
  const Program program = program_of("gpipe", 2, 2);
  const ToyModel model = model_of(program.pipeline());
  std::atomic<int> ended = 0;
  static_cast<void>(on_all_ranks(2, [&](Transport& transport) {
    try {
      static_cast<void>(train(
          program, transport,
          [&](int stage) -> std::unique_ptr<Stage> {
            if (stage == 1) {
              throw std::runtime_error("no memory for stage 1");
            }
            return std::make_unique<ToyStage>(model, stage);
          },
          steps(1)));
    } catch (const std::exception& error) {
      EXPECT_THAT(error.what(), HasSubstr("no memory for stage 1"));
      ++ended;
    }
  }));
  EXPECT_EQ(ended, 2);
}

}  // namespace
}  // namespace dualpipe
