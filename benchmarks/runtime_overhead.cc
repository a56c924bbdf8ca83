// What the runtime adds to a step: how long a step of stages that do nothing takes per slot, and by
// how much a step of slots of 1 ms is longer than its simulation without transfers. Ranks are
// threads, or the processes of mpirun.
//
//   runtime_overhead [RANKS]                  on threads, 2 by default
//   mpirun -n RANKS runtime_overhead          over MPI

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <thread>
#include <vector>

#include <fmt/core.h>

#include "costs/cost_model.h"
#include "runtime/collectives.h"
#include "runtime/executor.h"
#include "runtime/inproc_transport.h"
#include "runtime/models/cpu_math.h"
#include "runtime/models/math.h"
#include "runtime/models/model.h"
#include "runtime/stage.h"
#include "runtime/transport.h"
#include "runtime/watchdog.h"
#include "scheduler/compile.h"
#include "scheduler/generate.h"
#include "scheduler/program.h"
#include "sim/simulate.h"
#include "trace/timeline.h"
#ifdef DUALPIPE_HAS_MPI
#include "runtime/mpi_transport.h"
#endif

namespace dualpipe {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int microbatches = 64;
constexpr std::chrono::seconds timeout{60};

// Passes 64 bytes on and computes nothing.
class EmptyStage final : public Stage {
 public:
  EmptyStage(int stage, int stages) : stage_(stage), stages_(stages) {}

  [[nodiscard]] std::size_t input_bytes() const override { return stage_ == 0 ? 0 : 64; }
  [[nodiscard]] std::size_t output_bytes() const override { return stage_ == stages_ - 1 ? 0 : 64; }
  [[nodiscard]] std::size_t parameter_count() const override { return 0; }
  [[nodiscard]] std::int64_t activation_bytes() const override { return 0; }
  void allocate(int /*activation_slots*/) override {}
  void forward(const StageOp& /*op*/, std::span<const std::byte> /*input*/,
               std::span<std::byte> /*output*/) override {}
  [[nodiscard]] double loss(int /*microbatch*/) const override { return 0.0; }
  void backward_input(const StageOp& /*op*/, std::span<const std::byte> /*output_gradient*/,
                      std::span<std::byte> /*input_gradient*/) override {}
  void backward_weight(const StageOp& /*op*/, std::span<float> /*gradient*/) override {}
  void apply_gradient(std::span<const float> /*gradient*/) override {}

 private:
  int stage_;
  int stages_;
};

struct Job {
  const Program& program;
  std::function<StageFactory(Math&)> stages_for;
  int steps = 1;
};

// The median time of a step at this rank, from a moment when all ranks are ready.
std::chrono::nanoseconds median_step(const Job& job, Transport& transport) {
  const BoundedWait waits(job.program, transport, timeout);
  CpuMath math(transport.device());
  Executor executor(job.program, transport, job.stages_for(math), {.op_timeout = timeout});
  std::vector<std::chrono::nanoseconds> times;
  for (int step = 0; step < job.steps; ++step) {
    static_cast<void>(gather(waits, {}));
    static_cast<void>(broadcast(waits, {}));
    const Clock::time_point begin = Clock::now();
    executor.run(static_cast<std::uint64_t>(step));
    times.push_back(Clock::now() - begin);
  }
  const auto middle = times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2);
  std::ranges::nth_element(times, middle);
  return *middle;
}

// Rank 0's median.
std::chrono::nanoseconds run_on_threads(const Job& job) {
  const std::vector<std::unique_ptr<Transport>> transports =
      make_inproc_transports(job.program.pipeline().ranks());
  std::chrono::nanoseconds first{};
  std::vector<std::jthread> threads;
  for (const std::unique_ptr<Transport>& transport : transports) {
    threads.emplace_back([&] {
      const std::chrono::nanoseconds own = median_step(job, *transport);
      if (transport->rank() == 0) {
        first = own;
      }
    });
  }
  threads.clear();  // joins them
  return first;
}

// `mpi` is null where ranks are threads.
void report(std::string_view family, int ranks, Transport* mpi) {
  const Program program = compile_or_throw(
      generate(find_family(family), {.ranks = ranks, .microbatches = microbatches}));
  const int stages = program.pipeline().stages();
  const auto run = [&](const Job& job) {
    return mpi == nullptr ? run_on_threads(job) : median_step(job, *mpi);
  };
  constexpr int empty_steps = 200;
  const std::chrono::nanoseconds empty =
      run({.program = program,
           .stages_for =
               [=](Math&) {
                 return [=](int stage) { return std::make_unique<EmptyStage>(stage, stages); };
               },
           .steps = empty_steps});

  CostConfig millisecond;
  millisecond.per = "stage";
  ModelOptions sizes;
  sizes.stages = stages;
  sizes.microbatches = microbatches;
  sizes.costs = resolve_costs(millisecond, ranks, stages);
  constexpr int sleeping_steps = 11;
  const std::chrono::nanoseconds slept =
      run({.program = program,
           .stages_for = [&](Math& math) { return find_model("spin").make(sizes, math); },
           .steps = sleeping_steps});
  if (mpi == nullptr || mpi->rank() == 0) {
    const double slots = static_cast<double>(program.slots(0).size());
    const double ideal = static_cast<double>(makespan(simulate(program, sizes.costs)).count());
    fmt::print("{:<12} {:>5} {:>6.0f} {:>13.0f} {:>15.2f} %\n", family, ranks, slots,
               static_cast<double>(empty.count()) / slots,
               100.0 * (static_cast<double>(slept.count()) / ideal - 1.0));
  }
}

}  // namespace
}  // namespace dualpipe

int main(int argc, char** argv) {
  using dualpipe::report;
  std::unique_ptr<dualpipe::Transport> mpi;
#ifdef DUALPIPE_HAS_MPI
  if (dualpipe::started_by_mpi_launcher()) {
    mpi = dualpipe::make_mpi_transport({});
  }
#endif
  const int ranks = mpi != nullptr ? mpi->ranks() : (argc > 1 ? std::atoi(argv[1]) : 2);
  if (mpi == nullptr || mpi->rank() == 0) {
    fmt::print("{:<12} ranks  slots   ns per slot   over 1 ms slots\n", "schedule");
  }
  for (const std::string_view family :
       std::to_array<std::string_view>({"1f1b", "zb-h1", "dualpipe"})) {
    report(family, ranks, mpi.get());
  }
  return 0;
}
