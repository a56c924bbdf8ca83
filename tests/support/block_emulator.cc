#include "tests/support/block_emulator.h"

#include <cstddef>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <sys/ucontext.h>
#include <ucontext.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#elif defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif

#include "costs/check.h"

thread_local dualpipe::Extent threadIdx;
thread_local dualpipe::Extent blockIdx;
thread_local dualpipe::Extent blockDim;
thread_local dualpipe::Extent gridDim;

namespace dualpipe {
namespace {

constexpr std::size_t stack_bytes = std::size_t{64} * 1024;

// A place to go on from. The sanitizers are told of every switch, or they take the other stack for
// a corrupted one.
struct Context {
  ucontext_t saved{};
  std::unique_ptr<std::byte[]> stack;  // none: the host thread's own
  const void* stack_begin = nullptr;
  std::size_t stack_size = 0;
#if defined(__SANITIZE_ADDRESS__)
  void* fake_stack = nullptr;
#elif defined(__SANITIZE_THREAD__)
  void* fiber = nullptr;
#endif
};

// To be called first of all in a context that has been switched to.
void arrive([[maybe_unused]] Context& here, [[maybe_unused]] Context& from) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(here.fake_stack, &from.stack_begin, &from.stack_size);
#endif
}

void switch_context(Context& from, Context& to) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&from.fake_stack, to.stack_begin, to.stack_size);
#elif defined(__SANITIZE_THREAD__)
  from.fiber = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(to.fiber, 0);
#endif
  CHECK(swapcontext(&from.saved, &to.saved) == 0);
  arrive(from, to);
}

// Runs the threads of one block after another. A fiber runs threads until one of them waits at a
// barrier; then it waits with it, and another fiber goes on with the next thread.
class BlockRunner {
 public:
  BlockRunner() = default;
  BlockRunner(const BlockRunner&) = delete;
  BlockRunner& operator=(const BlockRunner&) = delete;
  ~BlockRunner() {
#if defined(__SANITIZE_THREAD__)
    for (const std::unique_ptr<Fiber>& fiber : fibers_) {
      __tsan_destroy_fiber(fiber->context.fiber);
    }
#endif
  }

  void run(const EmulatedLaunch& launch, const std::function<void()>& thread) {
    CHECK(thread_ == nullptr);  // Kernels do not launch kernels.
    thread_ = &thread;
    backwards_ = launch.backwards;
    gridDim = launch.grid;
    blockDim = launch.block;
    for (blockIdx.z = 0; blockIdx.z < launch.grid.z; ++blockIdx.z) {
      for (blockIdx.y = 0; blockIdx.y < launch.grid.y; ++blockIdx.y) {
        for (blockIdx.x = 0; blockIdx.x < launch.grid.x; ++blockIdx.x) {
          run_block();
        }
      }
    }
    thread_ = nullptr;
  }

  // In a fiber: ends its turn, until all threads of the block have come to the barrier.
  void wait_at_barrier() {
    Fiber& self = *running_;
    const Extent thread = threadIdx;
    self.waits = true;
    switch_context(self.context, host_);
    threadIdx = thread;
  }

 private:
  struct Fiber {
    Context context;
    bool waits = false;  // at a barrier; else it is free
  };

  void run_block() {
    next_ = 0;
    count_ = static_cast<std::size_t>(blockDim.x) * blockDim.y * blockDim.z;
    std::vector<Fiber*> waiting;
    while (next_ < count_) {
      // All fibers before this one wait.
      continue_at(fiber_at(waiting.size()), waiting);
    }
    while (!waiting.empty()) {
      if (waiting.size() != count_) {
        throw std::logic_error(std::to_string(waiting.size()) + " of " + std::to_string(count_) +
                               " threads of a block wait at a barrier, the others have ended");
      }
      std::vector<Fiber*> resumed;
      std::swap(waiting, resumed);
      for (Fiber* const fiber : resumed) {
        fiber->waits = false;
        continue_at(*fiber, waiting);
      }
    }
  }

  void continue_at(Fiber& fiber, std::vector<Fiber*>& waiting) {
    running_ = &fiber;
    switch_context(host_, fiber.context);
    running_ = nullptr;
    if (fiber.waits) {
      waiting.push_back(&fiber);
    }
  }

  // What every fiber does.
  void run_threads(Fiber& self) {
    arrive(self.context, host_);
    while (true) {
      while (next_ < count_) {
        const std::size_t turn = next_++;
        const auto number = static_cast<unsigned>(backwards_ ? count_ - 1 - turn : turn);
        threadIdx = {.x = number % blockDim.x,
                     .y = number / blockDim.x % blockDim.y,
                     .z = number / blockDim.x / blockDim.y};
        (*thread_)();
      }
      switch_context(self.context, host_);
    }
  }
  static void enter();

  Fiber& fiber_at(std::size_t position) {
    return position < fibers_.size() ? *fibers_[position] : add_fiber();
  }

  Fiber& add_fiber() {
    Fiber& fiber = *fibers_.emplace_back(std::make_unique<Fiber>());
    Context& context = fiber.context;
    context.stack = std::make_unique_for_overwrite<std::byte[]>(stack_bytes);
    context.stack_begin = context.stack.get();
    context.stack_size = stack_bytes;
    CHECK(getcontext(&context.saved) == 0);
    context.saved.uc_stack.ss_sp = context.stack.get();
    context.saved.uc_stack.ss_size = stack_bytes;
    context.saved.uc_link = nullptr;
    makecontext(&context.saved, enter, 0);
#if defined(__SANITIZE_THREAD__)
    context.fiber = __tsan_create_fiber(0);
#endif
    return fiber;
  }

  std::vector<std::unique_ptr<Fiber>> fibers_;
  Context host_;
  Fiber* running_ = nullptr;
  const std::function<void()>* thread_ = nullptr;  // while run() runs
  bool backwards_ = false;
  std::size_t next_ = 0;   // turn: how many threads of the block have begun
  std::size_t count_ = 0;  // threads of the block
};

// Each host thread keeps its fibers; of a run that has thrown nothing is kept.
thread_local std::unique_ptr<BlockRunner> runner;

void BlockRunner::enter() {
  runner->run_threads(*runner->running_);
}

}  // namespace

void run_blocks(const EmulatedLaunch& launch, const std::function<void()>& thread) {
  if (!runner) {
    runner = std::make_unique<BlockRunner>();
  }
  try {
    runner->run(launch, thread);
  } catch (...) {
    runner.reset();
    throw;
  }
}

void wait_at_barrier() {
  CHECK(runner);
  runner->wait_at_barrier();
}

}  // namespace dualpipe
