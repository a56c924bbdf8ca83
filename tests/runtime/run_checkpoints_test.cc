#include "runtime/run_checkpoints.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/error.h"
#include "runtime/checkpoint.h"
#include "runtime/inproc_transport.h"
#include "runtime/stage.h"
#include "runtime/train.h"
#include "runtime/transport.h"
#include "runtime/watchdog.h"
#include "scheduler/compile.h"
#include "scheduler/file.h"
#include "scheduler/generate.h"
#include "scheduler/program.h"
#include "tests/support/all_ranks.h"
#include "tests/support/toy_stage.h"

namespace dualpipe {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::ElementsAreArray;
using testing::HasSubstr;

// Runs of three ranks that keep checkpoints every three steps, all in one directory or each rank in
// its own as on hosts that share none.
class RunCheckpointsTest : public testing::Test {
 protected:
  RunCheckpointsTest() { fs::remove_all(path_); }
  ~RunCheckpointsTest() override { fs::remove_all(path_); }

  struct Run {
    int steps = 6;
    bool resume = false;
    bool apart = false;
    std::string_view seed = "1";
  };

  [[nodiscard]] std::string directory(int rank, bool apart) const {
    return (apart ? path_ / ("host" + std::to_string(rank)) : path_ / "all").string();
  }
  std::vector<RankEnd> train_as(const Run& run) {
    return on_all_ranks(3, [&](Transport& transport) {
      TrainOptions options;
      options.steps = run.steps;
      options.op_timeout = std::chrono::seconds(30);
      options.checkpoints = CheckpointOptions{
          .directory = directory(transport.rank(), run.apart), .every = 3, .resume = run.resume};
      options.identity.add("seed", run.seed);
      const TrainReport report = train(program_, transport, make_stage_, options);
      if (transport.rank() == 0) {
        loss_ = report.loss;
      }
    });
  }
  void expect_success(const Run& run) {
    for (const RankEnd& end : train_as(run)) {
      EXPECT_EQ(end.code, ExitCode::ok) << end.message;
    }
  }
  void expect_refusal(const Run& run, ExitCode code, std::string_view words) {
    for (const RankEnd& end : train_as(run)) {
      EXPECT_EQ(end.code, code);
      EXPECT_THAT(end.message, HasSubstr(words));
    }
  }
  [[nodiscard]] std::vector<std::string> kept(int rank, bool apart) const {
    std::vector<std::string> names;
    for (const fs::directory_entry& entry : fs::directory_iterator(directory(rank, apart))) {
      names.push_back(entry.path().filename().string());
    }
    std::ranges::sort(names);
    return names;
  }

  fs::path path_ = fs::path(testing::TempDir()) /
                   ("run-checkpoints-" +
                    std::string(testing::UnitTest::GetInstance()->current_test_info()->name()));
  Program program_ =
      compile_or_throw(generate(find_family("1f1b"), {.ranks = 3, .microbatches = 4}));
  ToyModel model_{.stages = 3, .microbatches = 4, .before = {}};
  StageFactory make_stage_ = toy_factory(model_);
  std::vector<double> loss_;  // of the last run
};

TEST_F(RunCheckpointsTest, AreDueEverySoManyStepsAndAtTheEnd) {
  const std::vector<std::unique_ptr<Transport>> transports = make_inproc_transports(3);
  const BoundedWait waits(program_, *transports.front(), std::chrono::seconds(1));
  const CheckpointOptions options{.directory = directory(0, false), .every = 3};
  const RunCheckpoints checkpoints(options, waits, {}, 8);
  std::vector<int> due;
  for (int steps = 1; steps <= 8; ++steps) {
    if (checkpoints.is_due(steps)) {
      due.push_back(steps);
    }
  }
  EXPECT_THAT(due, ElementsAre(3, 6, 8));
}

TEST_F(RunCheckpointsTest, AResumedRunGoesOnToTheSameBits) {
  expect_success({.steps = 8, .apart = true});
  const std::vector<double> undisturbed = loss_;
  fs::remove_all(path_);
  expect_success({.steps = 3, .resume = true, .apart = true});
  expect_success({.steps = 8, .resume = true, .apart = true});
  EXPECT_THAT(loss_, ElementsAreArray(std::span(undisturbed).subspan(3)));
}

// The older ones with more steps would be taken for the newest, and the new one be removed at once.
TEST_F(RunCheckpointsTest, ARunFromTheStartIsRefusedWhereThereIsACheckpoint) {
  expect_success({.steps = 6});
  expect_refusal({.steps = 2}, ExitCode::usage,
                 "has a checkpoint of 6 steps already, which a run from the start would spoil; go "
                 "on from it with --resume, or give another directory");
  EXPECT_THAT(kept(0, false), ElementsAre("step-00000003", "step-00000006"));
}

TEST_F(RunCheckpointsTest, ARunFromTheStartMayFollowOneThatWasCutShort) {
  static_cast<void>(CheckpointDirectory(directory(0, false)).write_part(9, 0, {}));
  expect_success({.steps = 3});
}

TEST_F(RunCheckpointsTest, AnotherRunsCheckpointIsRefusedWithWhatDiffers) {
  expect_success({.steps = 3});
  expect_refusal({.steps = 6, .resume = true, .seed = "2"}, ExitCode::usage,
                 "was written by a run with another seed");
  expect_refusal({.steps = 3, .resume = true}, ExitCode::usage,
                 "has done 3 steps and 3 were asked for in all");
}

TEST_F(RunCheckpointsTest, EveryHostKeepsTheNewestFew) {
  expect_success({.steps = 18, .apart = true});
  EXPECT_THAT(kept(0, true), ElementsAre("step-00000015", "step-00000018"));
  EXPECT_THAT(kept(2, true), ElementsAre("step-00000012", "step-00000015", "step-00000018"))
      << "one more: nobody has told it that the newest is complete";
}

// What a kill leaves: parts of checkpoints that were never complete, with more steps than that from
// which the run goes on.
TEST_F(RunCheckpointsTest, LeftoversPushNoCompleteCheckpointOut) {
  expect_success({.steps = 6, .apart = true});
  for (const std::uint64_t steps : {7U, 8U, 10U, 11U}) {
    for (int rank = 0; rank < 3; ++rank) {
      static_cast<void>(CheckpointDirectory(directory(rank, true)).write_part(steps, rank, {}));
    }
  }
  expect_success({.steps = 9, .resume = true, .apart = true});
  expect_success({.steps = 12, .resume = true, .apart = true});
  expect_success({.steps = 24, .resume = true, .apart = true});
  EXPECT_THAT(kept(1, true), ElementsAre("step-00000018", "step-00000021", "step-00000024"));
}

TEST_F(RunCheckpointsTest, AStageThatCannotBeSavedIsRefusedBeforeTheFirstStep) {
  std::atomic<int> forwards = 0;
  model_.before = [&](const std::string& /*call*/) { ++forwards; };
  model_.before_others = [](const std::string& call) {
    if (call == "save") {
      throw std::runtime_error("out of ideas");
    }
  };
  make_stage_ = toy_factory(model_);
  expect_refusal({}, ExitCode::callback, "rank 0: save() of stage 0 failed: out of ideas");
  EXPECT_EQ(forwards, 0);
}

TEST_F(RunCheckpointsTest, PartsThatCannotBeWrittenAreSaidOnceForAllRanks) {
  fs::create_directories(directory(0, false));
  write_file(directory(0, false) + "/step-00000003", "no directory");
  expect_refusal({}, ExitCode::input_output,
                 "rank 0: cannot write '" + directory(0, false) +
                     "/step-00000003/rank-00000.state': Not a directory");
}

TEST_F(RunCheckpointsTest, APartThatIsMissingIsSaidWithItsRank) {
  expect_success({.steps = 3, .apart = true});
  fs::remove_all(directory(1, true));
  expect_refusal({.steps = 6, .resume = true, .apart = true}, ExitCode::input_output,
                 "rank 1: cannot read '" + directory(1, true));
}

}  // namespace
}  // namespace dualpipe
