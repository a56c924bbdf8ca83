// Every fault against every kind of schedule, on threads: the run comes to the result of an
// undisturbed one, to the last bit, or to an error that says which operation it was - within its
// deadline, and never to another result. mpi_fault.sh does the same over MPI.

#include <algorithm>
#include <cctype>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <ostream>
#include <string>
#include <string_view>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costs/error.h"
#include "runtime/cpu_device.h"
#include "runtime/fault.h"
#include "runtime/fault_transport.h"
#include "runtime/inproc_transport.h"
#include "runtime/plain_run.h"
#include "runtime/train.h"
#include "runtime/transport.h"
#include "scheduler/compile.h"
#include "scheduler/generate.h"
#include "scheduler/program.h"
#include "tests/support/all_ranks.h"
#include "tests/support/toy_stage.h"

namespace dualpipe {
namespace {

using testing::AnyOf;
using testing::ContainsRegex;
using testing::Eq;

constexpr int steps = 2;

// What is to come of a fault.
enum class Outcome : std::uint8_t {
  correct,     // it changes nothing but the time
  found,       // it cannot go unnoticed
  either_way,  // it may meet no message, or one that nobody needs any more
};

struct Case {
  std::string fault;
  Outcome outcome = Outcome::found;
};

std::ostream& operator<<(std::ostream& out, const Case& tested) {
  return out << tested.fault;
}

struct Job {
  explicit Job(std::string_view family)
      : program(compile_or_throw(generate(find_family(family), {.ranks = 4, .microbatches = 8}))),
        model{.stages = program.pipeline().stages(),
              .microbatches = program.pipeline().microbatches(),
              .before = {}} {}

  // The losses of a run without a pipeline, which need the right gradients from the second on.
  [[nodiscard]] std::vector<double> losses() const {
    CpuDevice device;
    PlainRun plain(device, toy_factory(model), model.stages, model.microbatches);
    std::vector<double> losses;
    for (std::uint64_t step = 0; step < steps; ++step) {
      plain.run(step);
      plain.apply_gradients();
      losses.push_back(plain.loss());
    }
    return losses;
  }

  Program program;
  ToyModel model;
};

struct Result {
  TrainReport report;          // of rank 0
  std::vector<RankEnd> ended;  // [rank]
  [[nodiscard]] bool is_complete() const {
    return std::ranges::all_of(ended, [](const RankEnd& end) { return end.code == ExitCode::ok; });
  }
};

Result run(const Job& job, const FaultPlan& plan, const TrainOptions& options) {
  const std::vector<std::unique_ptr<Transport>> transports =
      make_fault_transports(make_inproc_transports(job.program.pipeline().ranks()), plan);
  Result result{.report = {}, .ended = std::vector<RankEnd>(transports.size())};
  std::vector<std::jthread> threads;
  for (std::size_t rank = 0; rank < transports.size(); ++rank) {
    threads.emplace_back([&, rank] {
      try {
        TrainReport report = train(job.program, *transports[rank], toy_factory(job.model), options);
        if (rank == 0) {
          result.report = std::move(report);
        }
      } catch (const Error& error) {
        result.ended[rank] = {.code = error.code(), .message = error.what()};
      }
    });
  }
  threads.clear();
  return result;
}

// With patience where nothing is to be found, so that a busy machine finds nothing either.
TrainOptions options_for(Outcome outcome) {
  TrainOptions options;
  options.steps = steps;
  options.verify = outcome == Outcome::correct;
  options.op_timeout = outcome == Outcome::correct ? std::chrono::milliseconds(30000)
                                                   : std::chrono::milliseconds(300);
  return options;
}

void expect_a_clear_error(const Result& result) {
  for (const RankEnd& end : result.ended) {
    if (end.code != ExitCode::ok) {
      EXPECT_THAT(end.code, AnyOf(Eq(ExitCode::timeout), Eq(ExitCode::transport)));
      EXPECT_THAT(end.message, ContainsRegex("[0-9]->[0-9]|is inside [0-9]|synchronize with rank"));
    }
  }
}

using FamilyAndCase = std::tuple<std::string_view, Case>;
class FaultMatrix : public testing::TestWithParam<FamilyAndCase> {};

TEST_P(FaultMatrix, ComesToTheRightResultOrToAClearError) {
  const auto& [family, tested] = GetParam();
  const Job job(family);
  const FaultPlan plan{.faults = {parse_fault(tested.fault)}, .seed = 1};
  const auto begin = std::chrono::steady_clock::now();
  const Result result = run(job, plan, options_for(tested.outcome));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));

  if (result.ended[0].code == ExitCode::ok) {
    EXPECT_EQ(result.report.loss, job.losses());
  }
  if (tested.outcome == Outcome::correct) {
    EXPECT_TRUE(result.is_complete()) << result.ended[0].message;
    EXPECT_EQ(result.report.max_gradient_difference, 0.0);
  } else if (tested.outcome == Outcome::found) {
    EXPECT_FALSE(result.is_complete());
  }
  expect_a_clear_error(result);
}

const std::vector<Case> cases{
    {"delay:ms=1", Outcome::correct},
    {"jitter:ms=2", Outcome::correct},
    {"jitter:class=control,ms=1", Outcome::correct},
    {"reorder:ms=1", Outcome::correct},
    {"reorder:share=0.3,ms=5", Outcome::correct},
    {"slow:rank=1,ms=1", Outcome::correct},
    {"duplicate:rank=1,message=0"},
    {"duplicate:rank=2,message=5"},
    {"duplicate:class=control,rank=3,message=2"},
    {"drop:rank=1,message=0"},
    {"drop:rank=2,message=9"},
    {"drop:class=control,rank=0,message=50"},
    {"drop:share=0.02", Outcome::either_way},
    {"truncate:rank=1,message=0"},
    {"truncate:rank=3,message=4"},
    {"truncate:class=control,rank=2,message=16"},
    {"corrupt:rank=1,message=0"},
    {"corrupt:rank=2,message=11"},
    {"corrupt:class=control,rank=1,message=3"},
    {"corrupt:class=control,rank=1,message=16"},
    {"corrupt:class=control,rank=1,message=17"},
    {"die:rank=0,message=2"},
    {"die:rank=3,message=7"},
    {"die:class=control,rank=1,message=17"},
};

std::string name_of(const testing::TestParamInfo<FamilyAndCase>& tested) {
  const auto& [family, one] = tested.param;
  std::string name = std::string(family) + "_" + one.fault;
  std::ranges::replace_if(
      name, [](char letter) { return std::isalnum(static_cast<unsigned char>(letter)) == 0; }, '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Threads, FaultMatrix,
                         testing::Combine(testing::Values("dualpipe", "zb-h1", "interleaved"),
                                          testing::ValuesIn(cases)),
                         name_of);

// Only schedules of two directions have replicas to add.
INSTANTIATE_TEST_SUITE_P(
    Replicas, FaultMatrix,
    testing::Combine(testing::Values("dualpipe"),
                     testing::Values(Case{"jitter:class=replica,ms=2", Outcome::correct},
                                     Case{"drop:class=replica,rank=1,message=0"},
                                     Case{"duplicate:class=replica,rank=1,message=0"},
                                     Case{"truncate:class=replica,rank=2,message=1"},
                                     Case{"corrupt:class=replica,rank=0,message=1"},
                                     Case{"die:class=replica,rank=3,message=0"})),
    name_of);

// One bit in one of 500 messages of any class: whatever it meets, it is found.
TEST(FaultMatrix, NoSeedLetsAWrongResultThrough) {
  const Job job("dualpipe");
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    FaultPlan plan{.faults = {}, .seed = seed};
    for (const std::string_view one : {"activation", "gradient", "replica", "control"}) {
      plan.faults.push_back(parse_fault("corrupt:share=0.002,class=" + std::string(one)));
    }
    const Result result = run(job, plan, options_for(Outcome::either_way));
    if (result.ended[0].code == ExitCode::ok) {
      EXPECT_EQ(result.report.loss, job.losses()) << "seed " << seed;
    }
    expect_a_clear_error(result);
  }
}

}  // namespace
}  // namespace dualpipe
