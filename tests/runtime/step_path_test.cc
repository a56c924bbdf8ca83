// After its first step, a rank's thread neither allocates nor takes a lock while it runs the next:
// what would make one step in a thousand late. All of operator new and pthread_mutex_lock is
// counted in this program, thread by thread.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <new>
#include <string_view>
#include <vector>

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <stdlib.h>

#include "costs/cost_model.h"
#include "runtime/executor.h"
#include "runtime/models/cpu_math.h"
#include "runtime/models/math.h"
#include "runtime/models/model.h"
#include "runtime/run_record.h"
#include "runtime/stage.h"
#include "runtime/step_marks.h"
#include "runtime/transport.h"
#include "scheduler/compile.h"
#include "scheduler/generate.h"
#include "scheduler/program.h"
#include "tests/support/all_ranks.h"
#ifdef DUALPIPE_HAS_MPI
#include "runtime/mpi_transport.h"
#endif

namespace {

struct Counts {
  std::int64_t allocations = 0;
  std::int64_t locks = 0;
};
thread_local Counts counts;  // of this thread, since it began

void* allocate(std::size_t bytes, std::size_t alignment) {
  ++counts.allocations;
  void* memory = nullptr;
  if (::posix_memalign(&memory, std::max(alignment, sizeof(void*)), bytes) != 0) {
    throw std::bad_alloc();
  }
  return memory;
}

}  // namespace

// The other forms come down to these.
void* operator new(std::size_t bytes) {
  return allocate(bytes, __STDCPP_DEFAULT_NEW_ALIGNMENT__);
}
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return allocate(bytes, static_cast<std::size_t>(alignment));
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t /*bytes*/) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::align_val_t /*alignment*/) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t /*bytes*/, std::align_val_t /*alignment*/) noexcept {
  std::free(memory);
}

// ThreadSanitizer has one of its own, which must stay.
#ifndef __SANITIZE_THREAD__
extern "C" int pthread_mutex_lock(pthread_mutex_t* mutex) noexcept {
  using Lock = int (*)(pthread_mutex_t*);
  static const Lock lock = reinterpret_cast<Lock>(::dlsym(RTLD_NEXT, "pthread_mutex_lock"));
  ++counts.locks;
  return lock(mutex);
}
#endif

namespace dualpipe {
namespace {

// Calls of spin that take no time.
StageFactory idle_stages(const Program& program, Math& math) {
  CostConfig nothing;
  nothing.forward = nothing.backward_input = nothing.backward_weight = 0.0;
  ModelOptions sizes;
  sizes.stages = program.pipeline().stages();
  sizes.microbatches = program.pipeline().microbatches();
  sizes.costs = resolve_costs(nothing, program.pipeline().ranks(), sizes.stages);
  return find_model("spin").make(sizes, math);
}

Program program_of(std::string_view family, int ranks) {
  return compile_or_throw(
      generate(find_family(family), {.ranks = ranks, .microbatches = 16, .chunks = 2}));
}

constexpr std::array<std::string_view, 4> families{"1f1b", "interleaved", "zb-h1", "dualpipe"};

void expect_free_steps(std::string_view family, const StageFactory& make_stage,
                       const Program& program, Transport& transport) {
  Executor executor(program, transport, make_stage, {});
  RunRecord record(program, transport.rank(), 4);
  record.add(executor.run(0));
  executor.reduce_replicas();
  const Counts before = counts;
  for (std::uint64_t step = 1; step < 4; ++step) {
    const RankStep& done = executor.run(step);
    executor.reduce_replicas();
    executor.apply_gradients();
    record.add(done);
  }
  const Counts after = counts;
  EXPECT_EQ(after.allocations - before.allocations, 0) << family << ", rank " << transport.rank();
  EXPECT_EQ(after.locks - before.locks, 0) << family << ", rank " << transport.rank();
}

TEST(StepPath, IsCounted) {
  const Counts before = counts;
  const std::vector<int> allocated(1);
  EXPECT_EQ(counts.allocations - before.allocations, 1) << allocated.size();
#ifndef __SANITIZE_THREAD__
  std::mutex mutex;
  const std::scoped_lock lock(mutex);
  EXPECT_EQ(counts.locks - before.locks, 1);
#endif
}

TEST(StepPath, OfThreadsHasNeitherAllocationsNorLocks) {
  for (const std::string_view family : families) {
    const Program program = program_of(family, 4);
    expect_success_on_all_ranks(4, [&](Transport& transport) {
      CpuMath math(transport.device());
      expect_free_steps(family, idle_stages(program, math), program, transport);
    });
  }
}

#ifdef DUALPIPE_HAS_MPI
TEST(StepPath, OfProcessesHasNeitherAllocationsNorLocks) {
  if (!started_by_mpi_launcher()) {
    GTEST_SKIP() << "not under mpirun";
  }
  const std::unique_ptr<Transport> transport = make_mpi_transport();
  for (const std::string_view family : families) {
    const Program program = program_of(family, transport->ranks());
    CpuMath math(transport->device());
    expect_free_steps(family, idle_stages(program, math), program, *transport);
  }
}
#endif

}  // namespace
}  // namespace dualpipe
