// What a trainer's author would write first: generate, prove, simulate, draw, run.

#include <iostream>
#include <memory>
#include <vector>

#include <render/terminal.h>
#include <runtime/inproc_transport.h>
#include <runtime/models/cpu_math.h>
#include <runtime/models/model.h>
#include <runtime/train.h>
#include <scheduler/compile.h>
#include <scheduler/generate.h>
#include <sim/simulate.h>
#include <trace/metrics.h>
#ifdef HAS_cuda
#include <runtime/cuda/cuda_device.h>
#endif
#ifdef HAS_nccl
#include <runtime/nccl/nccl_transport.h>
#endif

int main() {
  using namespace dualpipe;
  const Program program =
      compile_or_throw(generate(find_family("1f1b"), {.ranks = 1, .microbatches = 4}));
  const Timeline predicted = simulate(program, resolve_costs({}, 1, 1));
  std::cout << to_terminal(predicted);

  const std::vector<std::unique_ptr<Transport>> transports = make_inproc_transports(1);
  CpuMath math(transports.front()->device());
  ModelOptions options;
  options.microbatches = 4;
  const TrainReport report =
      train(program, *transports.front(), find_model("mlp").make(options, math), {.steps = 2});
  std::cout << "loss " << report.loss.front() << " to " << report.loss.back() << "\n";
#ifdef HAS_nccl
  prepare_nccl_environment();
#endif
#ifdef HAS_cuda
  std::cout << (no_gpu_reason().empty() ? "a GPU" : "no GPU: " + no_gpu_reason()) << "\n";
#endif
  return measure(predicted).step_time == std::chrono::milliseconds(12) ? 0 : 1;
}
