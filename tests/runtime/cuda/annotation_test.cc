// What a profiler would see: this program is its own. NVTX calls what a pointer of its header
// points to, with a table of the functions that a profiler may put its own in place of.

#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nvtx3/nvToolsExt.h>

#include "runtime/cuda/cuda_device.h"
#include "runtime/cuda/cuda_inproc_transport.h"
#include "runtime/cuda/cuda_spin.h"
#include "runtime/models/model.h"
#include "runtime/stage.h"
#include "runtime/train.h"
#include "runtime/transport.h"
#include "scheduler/compile.h"
#include "scheduler/generate.h"
#include "scheduler/program.h"
#include "scheduler/schedule.h"
#include "tests/support/needs_gpu.h"

namespace {

struct Recorder {
  std::mutex mutex;
  std::vector<std::string> events;  // "push 0F0", "pop"
  bool attached = false;

  void add(std::string event) {
    const std::scoped_lock lock(mutex);
    events.push_back(std::move(event));
  }
  std::vector<std::string> take() {
    const std::scoped_lock lock(mutex);
    return std::exchange(events, {});
  }
};

Recorder& recorder() {
  static Recorder& once = *new Recorder;
  return once;
}

int push(const char* text) {
  recorder().add(std::string("push ") + text);
  return 0;
}

int pop() {
  recorder().add("pop");
  return 0;
}

int attach(NvtxGetExportTableFunc_t export_table) {
  const auto* const callbacks =
      static_cast<const NvtxExportTableCallbacks*>(export_table(NVTX_ETID_CALLBACKS));
  NvtxFunctionTable functions = nullptr;
  unsigned count = 0;
  if (callbacks->GetModuleFunctionTable(NVTX_CB_MODULE_CORE, &functions, &count) != 1) {
    return 0;
  }
  *functions[NVTX_CBID_CORE_RangePushA] = reinterpret_cast<NvtxFunctionPointer>(push);
  *functions[NVTX_CBID_CORE_RangePop] = reinterpret_cast<NvtxFunctionPointer>(pop);
  recorder().attached = true;
  return 1;
}

// Before the first range.
[[maybe_unused]] const bool offered = (InitializeInjectionNvtx2_fnptr = attach, true);

}  // namespace

namespace dualpipe {
namespace {

using testing::ElementsAre;

class Annotation : public NeedsGpu {
 protected:
  void SetUp() override {
    NeedsGpu::SetUp();
    nvtxMarkA("");  // or whatever else comes first
    if (!IsSkipped() && !recorder().attached) {
      GTEST_SKIP() << "NVTX before 3.2 does not look for a profiler in the program itself";
    }
  }
};

TEST_F(Annotation, IsARangeUntilTheNextOne) {
  static_cast<void>(recorder().take());
  CudaDevice device(0);
  device.annotate("0F0");
  device.annotate("0B0");
  device.annotate(nullptr);
  device.annotate(nullptr);
  EXPECT_THAT(recorder().take(), ElementsAre("push 0F0", "pop", "push 0B0", "pop"));
}

TEST_F(Annotation, EndsWithItsDevice) {
  static_cast<void>(recorder().take());
  {
    CudaDevice(0).annotate("0F0");
  }
  EXPECT_THAT(recorder().take(), ElementsAre("push 0F0", "pop"));
}

TEST_F(Annotation, OfASlotIsItsName) {
  const Program program =
      compile_or_throw(generate(find_family("zb-h1"), {.ranks = 2, .microbatches = 2}));
  ModelOptions options;
  options.stages = 2;
  options.microbatches = 2;
  options.costs.stages.resize(2);
  static_cast<void>(recorder().take());
  {
    const std::vector<std::unique_ptr<Transport>> transports = make_cuda_inproc_transports(2);
    std::vector<std::jthread> threads;
    for (const std::unique_ptr<Transport>& transport : transports) {
      threads.emplace_back([&] {
        const StageFactory stages =
            make_cuda_spin(options, dynamic_cast<CudaDevice&>(transport->device()));
        TrainOptions one_step;
        one_step.steps = 1;
        static_cast<void>(train(program, *transport, stages, one_step));
      });
    }
  }
  std::multiset<std::string> expected;
  for (int rank = 0; rank < 2; ++rank) {
    for (const Slot& slot : program.slots(rank)) {
      expected.insert("push " + to_string(slot));
      expected.insert("pop");
    }
  }
  const std::vector<std::string> found = recorder().take();
  EXPECT_EQ(std::multiset<std::string>(found.begin(), found.end()), expected);
}

}  // namespace
}  // namespace dualpipe
