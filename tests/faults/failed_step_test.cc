// A step that fails on one rank leaves the parameters of all ranks as the step before has left
// them, wherever in the step it fails.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "costs/error.h"
#include "runtime/cpu_device.h"
#include "runtime/fault.h"
#include "runtime/fault_transport.h"
#include "runtime/inproc_transport.h"
#include "runtime/plain_run.h"
#include "runtime/stage.h"
#include "runtime/status.h"
#include "runtime/train.h"
#include "runtime/transport.h"
#include "scheduler/compile.h"
#include "scheduler/generate.h"
#include "scheduler/program.h"
#include "tests/support/toy_stage.h"
#include "tests/support/wrapped_toy.h"

namespace dualpipe {
namespace {

constexpr std::uint64_t failing_step = 2;

// Every stage object's parameters when it was last alive, by stage.
struct Remains {
  std::mutex mutex;
  std::multimap<int, std::vector<float>> parameters;
};

// A toy stage that leaves its parameters behind.
class Mortal final : public WrappedToy {
 public:
  Mortal(const ToyModel& model, int stage, Remains& remains)
      : WrappedToy(model, stage), stage_(stage), remains_(remains) {}
  ~Mortal() override {
    const std::scoped_lock lock(remains_.mutex);
    const std::span<const float> last = toy().parameters();
    remains_.parameters.emplace(stage_, std::vector<float>(last.begin(), last.end()));
  }
  Mortal(const Mortal&) = delete;
  Mortal& operator=(const Mortal&) = delete;

 private:
  int stage_;
  Remains& remains_;
};

StageFactory mortal_factory(const ToyModel& model, Remains& remains) {
  return [&remains, model](int stage) { return std::make_unique<Mortal>(model, stage, remains); };
}

struct Job {
  explicit Job(std::string_view family)
      : program(compile_or_throw(generate(find_family(family), {.ranks = 4, .microbatches = 8}))),
        model{.stages = program.pipeline().stages(),
              .microbatches = program.pipeline().microbatches(),
              .before = {}} {}

  // [stage]: the parameters after `steps` steps without a pipeline.
  [[nodiscard]] std::vector<std::vector<float>> parameters_after(std::uint64_t steps) const {
    Remains remains;
    {
      CpuDevice device;
      PlainRun plain(device, mortal_factory(model, remains), model.stages, model.microbatches);
      for (std::uint64_t step = 0; step < steps; ++step) {
        plain.run(step);
        plain.apply_gradients();
      }
    }
    std::vector<std::vector<float>> parameters;
    for (const auto& [stage, values] : remains.parameters) {
      parameters.push_back(values);
    }
    return parameters;
  }

  // What is left at all ranks of a run that is to fail.
  void fail(Remains& remains, const FaultPlan& plan = {}) {
    const std::vector<std::unique_ptr<Transport>> transports =
        make_fault_transports(make_inproc_transports(program.pipeline().ranks()), plan);
    pages.clear();
    for (const std::unique_ptr<Transport>& transport : transports) {
      pages.push_back(&transport->status());
    }
    TrainOptions options;
    options.steps = 4;
    options.op_timeout = std::chrono::seconds(plan.faults.empty() ? 30 : 1);
    std::vector<std::jthread> threads;
    for (const std::unique_ptr<Transport>& transport : transports) {
      threads.emplace_back([&] {
        EXPECT_THROW(
            static_cast<void>(train(program, *transport, mortal_factory(model, remains), options)),
            Error);
      });
    }
  }

  // Called by a rank inside a stage: returns when the others have come as far as they can without
  // it, which the failure is to stop from going on. Each has then been at one place for a while.
  void wait_for_the_others() const {
    const auto rests = [](const StatusPage* page) {
      const RankStatus status = page->read();
      return status.now_ns - status.since_ns > 20'000'000;
    };
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (std::ranges::count_if(pages, rests) < std::ssize(pages) &&
           std::chrono::steady_clock::now() < deadline) {
      std::this_thread::yield();
    }
  }

  Program program;
  ToyModel model;
  std::vector<const StatusPage*> pages;  // [rank], while it fails
};

void expect_parameters(const Remains& remains, const std::vector<std::vector<float>>& expected) {
  EXPECT_GE(remains.parameters.size(), expected.size());
  for (const auto& [stage, values] : remains.parameters) {
    EXPECT_EQ(values, expected[static_cast<std::size_t>(stage)]) << "stage " << stage;
  }
}

class FailedStep : public testing::TestWithParam<std::string_view> {};

INSTANTIATE_TEST_SUITE_P(Families, FailedStep, testing::Values("dualpipe", "zb-h1", "interleaved"));

// The first op and the last ones of the step: the later it fails, the more ranks are done with it.
TEST_P(FailedStep, OfAStageThatThrowsLeavesAllParametersAsTheyWere) {
  Job job(GetParam());
  const std::vector<std::vector<float>> expected = job.parameters_after(failing_step);
  const std::string last = std::to_string(job.model.stages - 1);
  for (const std::string& failing :
       {std::string("0F0"), last + "F7", std::string("0I7"), std::string("0W7"), last + "W7"}) {
    SCOPED_TRACE(failing);
    std::atomic<std::uint64_t> calls = 0;
    job.model.before = [&](const std::string& call) {
      if (call == failing && calls++ == failing_step) {
        job.wait_for_the_others();
        throw std::runtime_error("out of ideas");
      }
    };
    Remains remains;
    job.fail(remains);
    expect_parameters(remains, expected);
  }
}

// The end of a step, after all ops: the sum over replicas, and the word that the step is good.
// Every rank sends two gradients of replicas in a step, and 16 messages before them.
TEST(FailedStepEnd, OfALostOrAlteredMessageLeavesAllParametersAsTheyWere) {
  Job job("dualpipe");
  const std::vector<std::vector<float>> expected = job.parameters_after(failing_step);
  for (const char* fault :
       {"corrupt:class=replica,rank=1,message=4", "drop:class=replica,rank=3,message=5",
        "corrupt:rank=2,message=47", "die:class=replica,rank=0,message=4"}) {
    SCOPED_TRACE(fault);
    Remains remains;
    job.fail(remains, {.faults = {parse_fault(fault)}, .seed = 1});
    expect_parameters(remains, expected);
  }
}

}  // namespace
}  // namespace dualpipe
